//! Attacks by sockets of every family.

use super::attacks::{Attack, bare, bash, node, python};

pub(super) const SOCKETS: &[Attack] = &[
    bare(bash("TCP to the host", "exec 9<>/dev/tcp/127.0.0.1/$TCP && echo ESCAPED")),
    bare(python("UDP to the host", "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b'x', ('127.0.0.1', int(env['UDP']))); print('ESCAPED')")),
    bare(python("fast open", "
s = socket.socket()
s.sendto(b'x', 0x20000000, ('127.0.0.1', int(env['TCP']))); print('ESCAPED')")),
    bare(python("multipath TCP", "
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect(('127.0.0.1', int(env['TCP']))); print('ESCAPED')")),
    bare(python("unix socket", "
s = socket.socket(socket.AF_UNIX); s.connect(env['SOCKET']); print('ESCAPED')")),
    bare(python("unix socket by a datagram pair", "
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
try: a.connect(env['SOCKET'])
except OSError as e:
    if e.errno == 91: print('ESCAPED')")),
    bare(python("abstract socket", "
s = socket.socket(socket.AF_UNIX); s.connect('\\0' + env['ABSTRACT']); print('ESCAPED')")),
    bare(python("raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('ESCAPED')")),
    bare(python("packet socket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('ESCAPED')")),
    bare(python("nfnetlink", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12); print('ESCAPED')")),
    python("vsock", "socket.socket(40, socket.SOCK_STREAM); print('ESCAPED')"),
    python("kernel crypto socket", "socket.socket(38, 5); print('ESCAPED')"),
    python("bluetooth and the like", "
for family in [3, 4, 5, 9, 29, 31, 39, 41, 42, 43, 44]:
    try: socket.socket(family, 1); print('ESCAPED', family)
    except OSError: pass"),
    python("metadata address", "
s = socket.socket(); s.settimeout(2); s.connect(('169.254.169.254', 80)); print('ESCAPED')"),
    python("name resolution", "socket.gethostbyname('example.org'); print('ESCAPED')"),
    bare(python("interfaces of the host", "
if any(n != 'lo' for _, n in socket.if_nameindex()): print('ESCAPED')")),
    bare(node("TCP in node", "
await new Promise((yes, no) => require('net').connect(Number(env.TCP), '127.0.0.1', yes).on('error', no))
console.log('ESCAPED'); setTimeout(() => process.exit(), 10)")),
    bare(node("UDP in node", "
const s = require('dgram').createSocket('udp4')
await new Promise((yes, no) => { s.on('error', no); s.send('x', Number(env.UDP), '127.0.0.1', e => e ? no(e) : yes()) })
console.log('ESCAPED'); s.close()")),
    node("fetch in node", "await fetch('http://127.0.0.1:' + env.TCP, { signal: AbortSignal.timeout(500) }); console.log('ESCAPED')"),
];
