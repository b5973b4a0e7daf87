//! A root directory that holds what the program was granted, and nothing else.
//!
//! Sources are opened without following a symbolic link and copied as detached mounts; the old
//! root is gone before the first of them is attached, so that no name in a granted folder can lead
//! out. Mount points are made in our own memory file system only, never in a person's folder.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{FileStat, SFlag, fstat},
    unistd::{Gid, Uid, chdir, fchownat, pivot_root},
};

use super::{At as _, Fail, Run, Step};
use crate::sandbox::{
    policy::{HOME, Lock},
    sys,
};

/// Where programs and libraries live.
pub(super) const SYSTEM: &[&str] = &["/usr", "/nix"];
/// Links into `/usr`, or folders of their own on older systems.
pub(super) const MERGED: &[&str] = &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// What programs need of `/etc`.
pub(super) const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
];
/// Devices without a state that anyone else can see.
pub(super) const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];
/// Files of `/proc` about the kernel rather than about the sandbox.
const MASKED: &[&str] = &[
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/timer_list",
    "/proc/sysrq-trigger",
    "/proc/kallsyms",
    "/proc/kmsg",
];
const STAGES: &[&str] = &["/tmp", "/run", "/mnt", "/usr"];

/// A detached mount and its place in the new root.
struct Source {
    at: PathBuf,
    tree: OwnedFd,
    folder: bool,
}

/// Builds the root and moves into it.
pub(super) fn build(run: &Run) -> Step<()> {
    let plan = &run.policy.plan;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).at("private mounts")?;
    if !plan.has(Lock::Root) {
        return Ok(());
    }
    let (system, links) = system()?;
    let devices = devices()?;
    let masks = masks(run)?;
    let granted = granted(run)?;
    pivot(run)?;
    furnish(run, &links)?;
    for source in system.iter().chain(&devices).chain(&masks).chain(&granted) {
        place(source)?;
    }
    let sealed = MsFlags::MS_REMOUNT
        | MsFlags::MS_BIND
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    mount(None::<&str>, "/", None::<&str>, sealed, None::<&str>).at("seal root")
}

/// Opens a granted path as it is named: a symbolic link anywhere in it is an error.
pub(super) fn open_granted(path: &Path) -> nix::Result<(OwnedFd, FileStat)> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd = openat2(AT_FDCWD, path, how)?;
    let stat = fstat(&fd)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    // A socket or device can do what no permission speaks of.
    if kind != SFlag::S_IFDIR && kind != SFlag::S_IFREG {
        return Err(Errno::EACCES);
    }
    Ok((fd, stat))
}

/// Whether a stat is of a folder.
pub(super) fn is_folder(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

fn copy(at: PathBuf, fd: &OwnedFd, folder: bool, attributes: u64) -> Step<Source> {
    let stage = |what: &str| format!("{what} {}", at.display());
    let tree = sys::clone_tree(fd).at(&stage("open_tree"))?;
    sys::set_attributes(&tree, attributes).at(&stage("mount_setattr"))?;
    Ok(Source { at, tree, folder })
}

/// A system path, following links of the system's own; `None` if there is none here.
fn existing(path: &str) -> Step<Option<(OwnedFd, FileStat)>> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    match openat2(AT_FDCWD, path, how) {
        Ok(fd) => {
            let stat = fstat(&fd).at(path)?;
            Ok(Some((fd, stat)))
        }
        Err(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(Fail::new(path, errno as i32)),
    }
}

type Links = Vec<(PathBuf, PathBuf)>;

fn system() -> Step<(Vec<Source>, Links)> {
    let attributes = sys::READ_ONLY | sys::NO_SET_ID | sys::NO_DEVICES;
    let mut sources = Vec::new();
    let mut links = Vec::new();
    for path in SYSTEM.iter().chain(MERGED).chain(ETC) {
        if let Ok(target) = fs::read_link(path) {
            links.push((target, PathBuf::from(path)));
        } else if let Some((fd, stat)) = existing(path)? {
            sources.push(copy(path.into(), &fd, is_folder(&stat), attributes)?);
        }
    }
    Ok((sources, links))
}

fn devices() -> Step<Vec<Source>> {
    let mut sources = Vec::new();
    for path in DEVICES {
        if let Some((fd, _)) = existing(path)? {
            sources.push(copy(path.into(), &fd, false, sys::NO_SET_ID)?);
        }
    }
    Ok(sources)
}

fn granted(run: &Run) -> Step<Vec<Source>> {
    let mut sources = Vec::new();
    for (path, write) in &run.policy.mounts {
        let stage = format!("mount {}", path.display());
        let (fd, stat) = open_granted(path).at(&stage)?;
        let mut attributes = sys::NO_SET_ID | sys::NO_DEVICES;
        if *write {
            give(&fd, &stat, run.policy.uid).at(&stage)?;
        } else if run.policy.plan.has(Lock::ReadOnly) {
            attributes |= sys::READ_ONLY;
        }
        sources.push(copy(path.clone(), &fd, is_folder(&stat), attributes)?);
    }
    // A folder before what lies in it.
    sources.sort_by_key(|s| s.at.components().count());
    Ok(sources)
}

/// A writable folder that root made becomes the program's user's: the folder itself, not what is
/// in it.
pub(super) fn give(fd: impl AsFd, stat: &FileStat, uid: Option<u32>) -> nix::Result<()> {
    match uid {
        Some(uid) if stat.st_uid == 0 => fchownat(
            fd,
            "",
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(uid)),
            AtFlags::AT_EMPTY_PATH,
        ),
        _ => Ok(()),
    }
}

fn memory(at: &str, options: &str) -> Step<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options)).at(&format!("tmpfs {at}"))
}

/// Swaps the root for an empty one. `/proc` comes first: in a user namespace the kernel mounts one
/// only while another is in view.
fn pivot(run: &Run) -> Step<()> {
    let stage = STAGES
        .iter()
        .find(|path| fs::metadata(path).is_ok_and(|m| m.is_dir()))
        .ok_or_else(|| Fail::new("staging folder", libc::ENOENT))?;
    memory(stage, "mode=755,size=1m,nr_inodes=4k")?;
    chdir(*stage).at("staging folder")?;
    fs::create_dir("proc").at("proc")?;
    if run.policy.plan.proc {
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("proc"), "proc", Some("proc"), flags, None::<&str>).at("mount proc")?;
    }
    pivot_root(".", ".").at("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).at("leave the old root")?;
    chdir("/").at("new root")
}

/// Folders, memory file systems, links and the few files that programs look for.
fn furnish(run: &Run, links: &Links) -> Step<()> {
    let uid = run.policy.uid.unwrap_or_else(|| Uid::current().as_raw());
    let gid = run.policy.uid.unwrap_or_else(|| Gid::current().as_raw());
    for folder in ["/dev/shm", "/etc", HOME, "/tmp", "/var/tmp"] {
        fs::create_dir_all(folder).at(folder)?;
    }
    let size = run.policy.plan.tmp_bytes;
    // The program's own, sticky or not: git trusts no repository in another's folder.
    let options = format!("uid={uid},gid={gid},size={size},nr_inodes=16k");
    memory("/tmp", &format!("mode=1777,{options}"))?;
    memory("/dev/shm", &format!("mode=1777,{options}"))?;
    memory(HOME, &format!("mode=700,{options}"))?;
    let own = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    for (target, link) in own {
        symlink(target, link).at(link)?;
    }
    for (target, link) in links {
        symlink(target, link).at("system link")?;
    }
    let passwd = format!(
        "root:x:0:0:root:/:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n\
         skill:x:{uid}:{gid}:skill:{HOME}:/bin/sh\n"
    );
    let files = [
        ("/etc/passwd", passwd),
        ("/etc/group", format!("root:x:0:\nskill:x:{gid}:\n")),
        ("/etc/hosts", hosts(run)),
        ("/etc/hostname", "sandbox\n".to_owned()),
        ("/etc/resolv.conf", String::new()),
    ];
    for (path, text) in files {
        fs::write(path, text).at(path)?;
    }
    Ok(())
}

/// Names that have an address inside: nothing else is ever resolved there.
fn hosts(run: &Run) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    let mut named: Vec<String> = Vec::new();
    for forward in &run.policy.forwards {
        if let Some(name) = &forward.name {
            named.push(format!("{} {name}\n", forward.at));
        }
    }
    named.dedup();
    text.extend(named);
    text
}

/// `/dev/null` over each file of `/proc` that tells of the kernel.
fn masks(run: &Run) -> Step<Vec<Source>> {
    let plan = &run.policy.plan;
    let mut sources = Vec::new();
    let Some((null, _)) = existing("/dev/null")?.filter(|_| plan.proc) else {
        return Ok(sources);
    };
    for path in MASKED.iter().filter(|_| plan.has(Lock::ProcMasks)) {
        if fs::symlink_metadata(path).is_ok() {
            sources.push(copy(path.into(), &null, false, sys::NO_SET_ID)?);
        }
    }
    Ok(sources)
}

fn place(source: &Source) -> Step<()> {
    if let Err(error) = mount_point(source) {
        return Err(error).at(&format!("mount point {}", source.at.display()));
    }
    attach(&source.tree, &source.at)
}

fn mount_point(source: &Source) -> io::Result<()> {
    if source.at.exists() {
        return Ok(());
    }
    if source.folder {
        return fs::create_dir_all(&source.at);
    }
    if let Some(parent) = source.at.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&source.at, "")
}

fn attach(tree: &OwnedFd, at: &Path) -> Step<()> {
    let path = CString::new(at.as_os_str().as_bytes())
        .map_err(|e| Fail::new(e.to_string(), libc::EINVAL))?;
    sys::attach(tree, &path).at(&format!("move_mount {}", at.display()))
}
