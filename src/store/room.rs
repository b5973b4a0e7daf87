//! Free room on the disk of the database: looked at before anything is promised.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// An answer of the file system is good for this long.
const FRESH: Duration = Duration::from_millis(100);
/// Work that is under way may use room below the floor, down to this part of it.
const RESERVE: u64 = 4;

/// How much room there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Free on the disk of the database.
    pub bytes: u64,
    /// New messages are refused below this.
    pub floor: u64,
}

impl Free {
    /// Whether new messages can be taken.
    pub fn is_enough(self) -> bool {
        self.bytes >= self.floor
    }

    /// Whether what was begun can go on.
    pub(super) fn is_enough_to_go_on(self) -> bool {
        self.bytes >= self.floor / RESERVE
    }
}

/// Watches one disk.
pub(super) struct Room {
    folder: PathBuf,
    floor: AtomicU64,
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Room {
    pub(super) fn of(file: &Path) -> Self {
        Self {
            folder: file.parent().unwrap_or(Path::new(".")).to_owned(),
            floor: AtomicU64::new(0),
            seen: Mutex::new(None),
        }
    }

    pub(super) fn set_floor(&self, bytes: u64) {
        self.floor.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn free(&self) -> Free {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match *seen {
            Some((at, bytes)) if at.elapsed() < FRESH => bytes,
            _ => {
                let bytes = look(&self.folder);
                *seen = Some((Instant::now(), bytes));
                bytes
            }
        };
        Free {
            bytes,
            floor: self.floor.load(Ordering::Relaxed),
        }
    }
}

/// A file system that does not tell is taken to have room: writing will show.
fn look(folder: &Path) -> u64 {
    nix::sys::statvfs::statvfs(folder).map_or(u64::MAX, |disk| {
        disk.blocks_available().saturating_mul(disk.fragment_size())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_floor_work_goes_on_for_a_while() {
        let room = |bytes| Free { bytes, floor: 64 };
        assert!(room(64).is_enough() && !room(63).is_enough());
        assert!(room(16).is_enough_to_go_on() && !room(15).is_enough_to_go_on());
    }

    #[test]
    fn the_disk_of_a_file_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::of(&folder.path().join("t.db"));
        room.set_floor(u64::MAX);
        let free = room.free();
        assert!(free.bytes > 0 && !free.is_enough());
    }
}
