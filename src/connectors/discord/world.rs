//! What is known of servers: the names of channels and roles, and which channel is in which.

use std::collections::{HashMap, HashSet};

use super::wire::{Channel, Guild, Id, Role};

/// Channels and roles by id.
#[derive(Debug, Default)]
pub(super) struct World {
    channels: HashMap<Id, Place>,
    roles: HashMap<Id, String>,
    /// Roles that are the bot's own: whoever mentions one means the bot.
    own_roles: HashSet<Id>,
}

#[derive(Debug)]
struct Place {
    name: String,
    guild: Option<Id>,
    /// The channel that a thread is in.
    parent: Option<Id>,
}

impl World {
    /// Takes a server in.
    pub(super) fn guild(&mut self, me: Id, guild: &Guild) {
        for channel in guild.channels.iter().chain(&guild.threads) {
            self.channel(channel, Some(guild.id));
        }
        for role in &guild.roles {
            self.role(me, role);
        }
    }

    /// Takes a channel in; what a server holds does not name the server itself.
    pub(super) fn channel(&mut self, channel: &Channel, guild: Option<Id>) {
        let place = Place {
            guild: channel.guild_id.or(guild),
            name: channel.name.clone().unwrap_or_default(),
            parent: channel.parent_id.filter(|_| channel.is_thread()),
        };
        self.channels.insert(channel.id, place);
    }

    pub(super) fn role(&mut self, me: Id, role: &Role) {
        self.roles.insert(role.id, role.name.clone());
        if role.tags.as_ref().and_then(|tags| tags.bot_id) == Some(me) {
            self.own_roles.insert(role.id);
        }
    }

    /// The channel, and what it is in.
    pub(super) fn place(&self, channel: Id) -> Vec<Id> {
        let parent = self.channels.get(&channel).and_then(|place| place.parent);
        [Some(channel), parent].into_iter().flatten().collect()
    }

    /// The server that a channel is in.
    pub(super) fn guild_of(&self, channel: Id) -> Option<Id> {
        self.channels.get(&channel)?.guild
    }

    pub(super) fn channel_name(&self, channel: Id) -> Option<&str> {
        let name = self.channels.get(&channel).map(|place| place.name.as_str());
        name.filter(|name| !name.is_empty())
    }

    pub(super) fn role_name(&self, role: Id) -> Option<&str> {
        self.roles.get(&role).map(String::as_str)
    }

    pub(super) fn is_own_role(&self, role: Id) -> bool {
        self.own_roles.contains(&role)
    }
}
