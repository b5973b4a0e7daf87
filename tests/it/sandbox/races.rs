//! The likeliest breach: the daemon, which may read everything, follows what a skill has put there.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use nexflow::sandbox::{Job, Mode, Mount, Open, open_beneath};

use super::{bash, err, forced, out, run_in};
use crate::support::PATIENCE;

/// Swaps a file or folder for a link to a secret, and back, as fast as it can.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapper {
    fn new(place: PathBuf, secret: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let swaps = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&swaps);
        let thread = std::thread::spawn(move || {
            let honest = place.with_extension("honest");
            let link = place.with_extension("link");
            symlink(&secret, &link).unwrap();
            fs::rename(&place, &honest).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                fs::rename(&link, &place).unwrap();
                fs::rename(&place, &link).unwrap();
                fs::rename(&honest, &place).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
                fs::rename(&place, &honest).unwrap();
            }
            fs::rename(&honest, &place).unwrap();
            fs::remove_file(&link).unwrap();
        });
        Self {
            stop,
            swaps,
            thread: Some(thread),
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Swapper {
    /// Reads again and again while the place is swapped so many times; how often the secret came.
    /// Ends early once it did, if that is what is waited for.
    fn leaks(&self, swaps: usize, wanted: bool, read: impl Fn() -> io::Result<String>) -> usize {
        let (begun, mut leaks) = (Instant::now(), 0);
        let until = self.swaps.load(Ordering::Relaxed) + swaps;
        while self.swaps.load(Ordering::Relaxed) < until && begun.elapsed() < PATIENCE {
            leaks += usize::from(read().is_ok_and(|text| text.contains("SECRET")));
            if wanted && leaks > 0 {
                break;
            }
        }
        leaks
    }
}

fn careless(path: &Path) -> io::Result<String> {
    if path.symlink_metadata()?.is_symlink() {
        return Err(io::Error::other("a link"));
    }
    fs::read_to_string(path)
}

#[test]
fn a_file_swapped_for_a_link_is_never_followed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (work, private) = (root.join("work"), root.join("private"));
    fs::create_dir_all(work.join("sub")).unwrap();
    fs::create_dir(&private).unwrap();
    fs::write(private.join("file"), "SECRET").unwrap();
    for (place, aim, name) in [
        ("file", private.join("file"), "file"),
        ("sub", private.clone(), "sub/file"),
    ] {
        if place == "file" {
            fs::write(work.join("file"), "honest").unwrap();
        } else {
            fs::write(work.join("sub/file"), "honest").unwrap();
        }
        let swapping = Swapper::new(work.join(place), aim);
        let safe = || {
            let file = open_beneath(&work, Path::new(name), Open::Read)?;
            io::read_to_string(file)
        };
        assert_eq!(swapping.leaks(10_000, false, safe), 0, "{name}");
        // Looking first and reading then, as most programs do it, loses the race.
        let careless = || careless(&work.join(name));
        assert!(swapping.leaks(usize::MAX / 2, true, careless) > 0, "{name}");
    }
}

/// A granted folder that becomes a link between the grant and the run is not followed.
#[tokio::test]
async fn a_granted_folder_swapped_for_a_link_is_not_mounted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for name in ["granted", "private"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("private/file"), "SECRET").unwrap();
    fs::write(root.join("granted/file"), "honest").unwrap();
    let granted = root.join("granted");
    for mode in [Mode::Full, Mode::Degraded] {
        let _swapping = Swapper::new(granted.clone(), root.join("private"));
        let mut started = 0;
        for _ in 0..60 {
            let job = Job {
                mounts: vec![Mount::read(&granted)],
                ..bash(&format!("cat {}/file", granted.display()))
            };
            // Not there, or a link, at this moment: refused, which is as good.
            let Ok(done) = run_in(forced(mode), job).await else {
                continue;
            };
            started += 1;
            assert!(!out(&done).contains("SECRET"), "{mode:?} {}", err(&done));
        }
        assert!(started > 0, "{mode:?}: no run caught the folder in place");
    }
}
