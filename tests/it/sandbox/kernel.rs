//! Attacks on the kernel's own interfaces, by system call.

use super::attacks::{Attack, bare, bash, python};

/// In front of every python attack.
pub(super) const PRELUDE: &str = "
import ctypes, os, socket
env = os.environ
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    r = libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if r < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return r
def refused(number, *args, errnos=(1, 38)):
    # Only the filter's own answers count: another error means that the call was looked at.
    try: call(number, *args); print('ESCAPED', number)
    except OSError as e:
        if e.errno not in errnos: print('ESCAPED', number, e)
";

pub(super) const CALLS: &[Attack] = &[
    bare(bash("user namespace", "unshare -Ur true && echo ESCAPED")),
    bare(bash("mount namespace", "unshare -m true && echo ESCAPED")),
    bare(python(
        "clone with a user namespace",
        "
pid = call(56, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
print('ESCAPED')",
    )),
    bare(python(
        "clone3 is not there",
        "refused(435, 0, 0, errnos=(38,))",
    )),
    bare(python(
        "enter a namespace",
        "
fd = os.open('/proc/self/ns/net', os.O_RDONLY)
call(308, fd, 0); print('ESCAPED')",
    )),
    bare(python(
        "mount",
        "
os.mkdir('m')
if libc.mount(b'tmpfs', b'm', b'tmpfs', 0, None) == 0: libc.umount2(b'm', 2); print('ESCAPED')",
    )),
    bare(python(
        "new mount calls",
        "refused(430, b'tmpfs', 0); refused(428, -100, b'/usr', 1); refused(442, -100, b'/', 0, 0, 0)",
    )),
    bare(python("chroot", "os.chroot('.'); print('ESCAPED')")),
    bare(python(
        "open by handle",
        "
h = (ctypes.c_char * 136).from_buffer_copy(b'\\x80\\0\\0\\0' + bytes(132)); m = ctypes.c_int()
call(303, -100, b'/', h, ctypes.byref(m), 0); print('ESCAPED')",
    )),
    bare(python(
        "trace",
        "
pid = os.fork()
if pid == 0:
    import time; time.sleep(1); os._exit(0)
try: call(101, 16, pid, 0, 0); print('ESCAPED')
finally: os.kill(pid, 9)",
    )),
    bare(python(
        "memory of another process",
        "
b = ctypes.create_string_buffer(8); v = (ctypes.c_void_p * 2)(ctypes.addressof(b), 8)
call(310, os.getpid(), v, 1, v, 1, 0); print('ESCAPED')",
    )),
    python(
        "descriptor of another process",
        "
fd = call(434, os.getpid(), 0)
refused(438, fd, 0, 0)",
    ),
    bare(python(
        "io_uring",
        "refused(425, 1, ctypes.create_string_buffer(200))",
    )),
    bare(python(
        "keyrings",
        "refused(248, b'user', b'x', b'y', 1, -3); refused(250, 0, -3, 0, 0, 0)",
    )),
    bare(python(
        "bpf",
        "refused(321, 0, ctypes.create_string_buffer(128), 72)",
    )),
    bare(python(
        "perf",
        "refused(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)",
    )),
    bare(python("userfaultfd", "refused(323, 1)")),
    bare(python(
        "openat2 is not there",
        "refused(437, -100, b'/', ctypes.create_string_buffer(24), 24, errnos=(38,))",
    )),
    bare(python(
        "own filter",
        "refused(317, 2, 0, ctypes.byref(ctypes.c_uint(0x7fff0000)))",
    )),
    bare(python("personality", "refused(135, 0x0040000)")),
    bare(python(
        "kernel clocks",
        "refused(227, 99, 0); refused(159, 0)",
    )),
    python(
        "modules, kexec, reboot, swap",
        "
for n in (175, 313, 176, 246, 320, 169, 167, 168, 163): refused(n, 0, 0, 0, 0)",
    ),
    python("ports", "refused(172, 0); refused(173, 0, 1, 0)"),
    bare(python(
        "typing into a terminal",
        "
import fcntl
a, b = os.openpty() if os.path.exists('/dev/ptmx') else (0, 0)
try: fcntl.ioctl(b, 0x5412, b'x'); print('ESCAPED')
except OSError as e:
    if e.errno != 1: print('ESCAPED', e)
try: fcntl.ioctl(b, 0x100005412, b'x'); print('ESCAPED')
except OSError as e:
    if e.errno != 1: print('ESCAPED', e)
except (OverflowError, ValueError): pass",
    )),
    bare(python(
        "the 32-bit entry",
        "
import mmap, platform
if platform.machine() == 'x86_64':
    m = mmap.mmap(-1, 4096, prot=7)
    m.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')
    f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
    pid = os.fork()
    if pid == 0:
        f(); os._exit(7)
    if os.WIFEXITED(os.waitpid(pid, 0)[1]): print('ESCAPED')",
    )),
    python("the x32 entry", "refused(0x40000000 + 39, errnos=(38,))"),
    bare(bash(
        "kernel settings",
        "w=$(cat /proc/sys/kernel/randomize_va_space)
        echo $w >/proc/sys/kernel/randomize_va_space && echo ESCAPED",
    )),
    bash(
        "control groups",
        "d=$(dirname $(find /sys/fs/cgroup -name cgroup.procs | tail -1))
        [ -d \"$d\" ] && mkdir $d/nexflow-x && rmdir $d/nexflow-x && echo ESCAPED",
    ),
    bash(
        "kernel files",
        "for f in kcore keys kallsyms kmsg sysrq-trigger; do
        [ -n \"$(head -c 40 /proc/$f | tr -d '0 ')\" ] && echo ESCAPED $f; done",
    ),
    bare(bash(
        "the host's name",
        "[ \"$(hostname)\" != sandbox ] && hostname \"$(hostname)\" && echo ESCAPED",
    )),
    bare(python(
        "watching folders",
        "
fd = call(294, 0)
call(254, fd, env['PRIVATE'].encode(), 2); print('ESCAPED')",
    )),
    bare(python("time namespace", "refused(272, 0x80)")),
    bare(python(
        "becoming another user",
        "
for f in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
    try: f(); print('ESCAPED')
    except PermissionError: pass",
    )),
];
