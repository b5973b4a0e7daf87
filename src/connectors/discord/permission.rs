//! What the bot may not do in a channel, by the names that Discord's settings show.

use super::{
    rest::{Ask, Failure, Rest},
    wire::{Channel, Id, Member, Overwrite, Role},
};

const ADMINISTRATOR: u64 = 1 << 3;

/// A right, by its bit and its name.
type Right = (u64, &'static str);

pub(super) const VIEW: Right = (1 << 10, "View Channel");
pub(super) const SEND: Right = (1 << 11, "Send Messages");
pub(super) const EMBED: Right = (1 << 14, "Embed Links");
pub(super) const ATTACH: Right = (1 << 15, "Attach Files");
pub(super) const HISTORY: Right = (1 << 16, "Read Message History");
const IN_THREADS: Right = (1 << 38, "Send Messages in Threads");

/// Which of these rights the bot lacks in a channel.
pub(super) async fn missing(
    rest: &Rest,
    me: &str,
    channel: &str,
    wanted: &[Right],
) -> Result<Vec<&'static str>, Failure> {
    let here: Channel = match rest.ask(Ask::get(format!("/channels/{channel}"))).await {
        Ok(here) => here,
        Err(Failure::Refused { status: 403, .. }) => return Ok(vec![VIEW.1]),
        Err(failure) => return Err(failure),
    };
    let (Some(guild), Ok(me)) = (here.guild_id, me.parse::<Id>()) else {
        return Ok(Vec::new());
    };
    let thread = here.is_thread();
    // A thread has the rights of its channel.
    let ruling = match here.parent_id.filter(|_| thread) {
        Some(parent) => rest.ask(Ask::get(format!("/channels/{parent}"))).await?,
        None => here,
    };
    let roles: Vec<Role> = rest.ask(Ask::get(format!("/guilds/{guild}/roles"))).await?;
    let member: Member = rest
        .ask(Ask::get(format!("/guilds/{guild}/members/{me}")))
        .await?;
    let may = rights(
        (guild, me),
        &member.roles,
        &roles,
        &ruling.permission_overwrites,
    );
    let wanted = wanted.iter().map(|right| {
        if thread && *right == SEND {
            IN_THREADS
        } else {
            *right
        }
    });
    Ok(wanted
        .filter(|(bit, _)| may & bit == 0)
        .map(|(_, name)| name)
        .collect())
}

/// What a member may, in the order in which Discord says that it counts.
fn rights((guild, member): (Id, Id), own: &[Id], roles: &[Role], overwrites: &[Overwrite]) -> u64 {
    let held = |id: Id| id == guild || own.contains(&id);
    let base = roles
        .iter()
        .filter(|role| held(role.id))
        .fold(0, |all, role| all | role.permissions);
    if base & ADMINISTRATOR != 0 {
        return u64::MAX;
    }
    let of = |id: Id| overwrites.iter().filter(move |o| o.id == id);
    let apply = |may: u64, (deny, allow): (u64, u64)| may & !deny | allow;
    let sum = |all: (u64, u64), o: &Overwrite| (all.0 | o.deny, all.1 | o.allow);
    let everyone = of(guild).fold((0, 0), sum);
    let by_roles = overwrites
        .iter()
        .filter(|o| own.contains(&o.id))
        .fold((0, 0), sum);
    let alone = of(member).fold((0, 0), sum);
    [everyone, by_roles, alone].into_iter().fold(base, apply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwrites_count_in_discords_order() {
        let role = |id, permissions| Role {
            id,
            name: String::new(),
            permissions,
            tags: None,
        };
        let over = |id, allow, deny| Overwrite { id, allow, deny };
        let (guild, me) = (1, 9);
        let roles = [
            role(guild, VIEW.0 | SEND.0),
            role(2, EMBED.0),
            role(3, ATTACH.0),
        ];
        let may = |over: &[Overwrite]| rights((guild, me), &[2], &roles, over);
        assert_eq!(may(&[]), VIEW.0 | SEND.0 | EMBED.0);
        // Everyone may not, but this role may.
        let both = [over(guild, 0, SEND.0), over(2, SEND.0, 0)];
        assert_eq!(may(&both), VIEW.0 | SEND.0 | EMBED.0);
        // What is said of the member alone is the last word; other roles do not count.
        let alone = [
            over(2, SEND.0, 0),
            over(me, 0, SEND.0),
            over(3, ATTACH.0, 0),
        ];
        assert_eq!(may(&alone), VIEW.0 | EMBED.0);
        let admin = [role(guild, ADMINISTRATOR)];
        assert_eq!(rights((guild, me), &[], &admin, &both), u64::MAX);
    }
}
