//! How fast we may post: about one message a second in a chat, twenty a minute in a group, thirty a second
//! in all. Drafts leave room for answers.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many posts in so long.
type Window = (usize, Duration);

const OVERALL: Window = (30, Duration::from_secs(1));
const CHAT: Window = (3, Duration::from_secs(3));
const GROUP: Window = (20, Duration::from_mins(1));
/// Of [`GROUP`], for drafts.
const GROUP_DRAFTS: usize = 10;
/// Chats that are remembered before those are forgotten that were quiet.
const CHATS: usize = 1024;

/// What was posted lately.
#[derive(Default)]
pub(super) struct Pace(Mutex<Lately>);

#[derive(Default)]
struct Lately {
    overall: VecDeque<Instant>,
    chats: HashMap<i64, Chat>,
}

#[derive(Default)]
struct Chat {
    posts: VecDeque<Instant>,
    /// The platform asked for quiet until then.
    quiet: Option<Instant>,
}

fn wait(posts: &VecDeque<Instant>, (most, long): Window, now: Instant) -> Duration {
    let oldest = posts.len().checked_sub(most).and_then(|n| posts.get(n));
    oldest.map_or(Duration::ZERO, |at| {
        (*at + long).saturating_duration_since(now)
    })
}

fn forget(posts: &mut VecDeque<Instant>, long: Duration, now: Instant) {
    while posts
        .front()
        .is_some_and(|at| now.saturating_duration_since(*at) > long)
    {
        posts.pop_front();
    }
}

impl Pace {
    /// Takes the right to post now, or tells how long to wait before asking again.
    pub(super) fn take(&self, chat: i64, draft: bool) -> Result<(), Duration> {
        let now = Instant::now();
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.chats.len() > CHATS {
            lately.chats.retain(|_, chat| {
                forget(&mut chat.posts, GROUP.1, now);
                !chat.posts.is_empty() || chat.quiet.is_some_and(|until| until > now)
            });
        }
        forget(&mut lately.overall, OVERALL.1, now);
        let overall = wait(&lately.overall, OVERALL, now);
        let here = lately.chats.entry(chat).or_default();
        forget(&mut here.posts, GROUP.1, now);
        let quiet = here
            .quiet
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let mut long = overall.max(quiet).max(wait(&here.posts, CHAT, now));
        // Groups have negative ids.
        if chat < 0 {
            let most = if draft { GROUP_DRAFTS } else { GROUP.0 };
            long = long.max(wait(&here.posts, (most, GROUP.1), now));
        }
        if long.is_zero() {
            here.posts.push_back(now);
            lately.overall.push_back(now);
            Ok(())
        } else {
            Err(long)
        }
    }

    /// The platform asked for quiet in a chat.
    pub(super) fn quiet(&self, chat: i64, long: Duration) {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lately.chats.entry(chat).or_default().quiet = Some(Instant::now() + long);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many posts of a chat pass within a time.
    async fn passed(pace: &Pace, chat: i64, within: Duration) -> usize {
        let end = Instant::now() + within;
        let mut passed = 0;
        while Instant::now() < end {
            match pace.take(chat, false) {
                Ok(()) => passed += 1,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        passed
    }

    #[tokio::test(start_paused = true)]
    async fn a_chat_and_a_group_have_their_pace() {
        let pace = Pace::default();
        let minute = Duration::from_secs(59);
        assert!((57..=63).contains(&passed(&pace, 1, minute).await));
        assert_eq!(passed(&pace, -1, minute).await, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn chats_do_not_hold_up_each_other_until_the_whole_is_full() {
        let pace = Pace::default();
        for chat in 1..=30 {
            assert_eq!(pace.take(chat, false), Ok(()));
        }
        assert!(pace.take(31, false).unwrap_err() <= Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(1001)).await;
        assert_eq!(pace.take(31, false), Ok(()));
        pace.quiet(31, Duration::from_secs(7));
        assert_eq!(pace.take(31, false), Err(Duration::from_secs(7)));
        assert_eq!(pace.take(32, false), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn drafts_leave_room_for_answers() {
        let pace = Pace::default();
        for _ in 0..10 {
            assert_eq!(pace.take(-5, true), Ok(()));
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        assert!(pace.take(-5, true).is_err());
        assert_eq!(pace.take(-5, false), Ok(()));
    }
}
