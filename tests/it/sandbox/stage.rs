//! What attacks are aimed at: a secret file, sockets, shared memory and a process of the host.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr, UnixListener},
        },
    },
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use nexflow::sandbox::{Job, Mount};
use nix::fcntl::{FcntlArg, FdFlag};
use tempfile::TempDir;

pub(super) struct Stage {
    _folder: TempDir,
    root: PathBuf,
    shm: PathBuf,
    tcp: TcpListener,
    udp: UdpSocket,
    _path: UnixListener,
    _abstract: UnixListener,
    name: String,
    _leak: fs::File,
}

impl Stage {
    pub(super) fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nexflow-{name}-{}-{number}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let open = |path: &str, mode: u32| {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        open("", 0o755);
        for path in ["private", "work", "granted"] {
            fs::create_dir(root.join(path)).unwrap();
            open(path, 0o755);
        }
        // Readable by everyone: only the sandbox stands in between.
        for path in ["private/secret", "granted/file"] {
            fs::write(root.join(path), "CANARY\n").unwrap();
            open(path, 0o666);
        }
        open("granted", 0o777);
        open("work", 0o700);
        let shm = PathBuf::from(format!("/dev/shm/{name}"));
        fs::write(&shm, "CANARY\n").unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let path = UnixListener::bind(root.join("private/socket")).unwrap();
        open("private/socket", 0o777);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        // Every program that this process starts inherits this one, unless something closes it.
        let leak = fs::File::open(root.join("private")).unwrap();
        nix::fcntl::fcntl(&leak, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        Self {
            _leak: leak,
            _folder: folder,
            shm,
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp,
            _path: path,
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            name,
            root,
        }
    }

    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    pub(super) fn env(&self) -> Vec<(String, String)> {
        let path = |p: &str| self.root.join(p).display().to_string();
        [
            ("SECRET", path("private/secret")),
            ("PRIVATE", path("private")),
            ("SOCKET", path("private/socket")),
            ("WORK", path("work")),
            ("GRANTED", path("granted")),
            ("SHM", self.shm.display().to_string()),
            ("DAEMON", std::process::id().to_string()),
            ("TCP", self.tcp.local_addr().unwrap().port().to_string()),
            ("UDP", self.udp.local_addr().unwrap().port().to_string()),
            ("ABSTRACT", self.name.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub(super) fn job(&self, argv: &[&str]) -> Job {
        let mut job = Job::new(argv.iter().copied());
        job.env = self.env();
        job.cwd = self.work();
        job.mounts = vec![
            Mount::write(self.work()),
            Mount::read(self.root.join("granted")),
        ];
        job
    }

    /// Nothing reached the host's sockets, and nothing of the host was changed.
    pub(super) fn assert_untouched(&self) {
        self.tcp.set_nonblocking(true).unwrap();
        assert!(self.tcp.accept().is_err(), "a TCP connection arrived");
        assert!(self.udp.recv(&mut [0; 10]).is_err(), "a datagram arrived");
        for path in ["private/secret", "granted/file"] {
            assert_eq!(
                fs::read(self.root.join(path)).unwrap(),
                b"CANARY\n",
                "{path}"
            );
        }
        let names = |path: &str| fs::read_dir(self.root.join(path)).unwrap().count();
        assert_eq!((names("private"), names("granted")), (2, 1));
        let mode = |path: &str| {
            self.root
                .join(path)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("granted/file") & 0o7777, 0o666);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.shm));
    }
}
