//! Who may talk and who may operate, for the doors: letting people in, changing their rights, and
//! buttons that they press.

use super::{
    Choice, DecideError, Decider, Decision, Orchestrator,
    pairing::{Asked, PeopleError},
};
use crate::{
    connectors::PressError,
    store::{
        audit::Origin,
        inbox,
        users::{self, Account, Role, User},
    },
    types::{PairingId, Press, UserId},
};

impl Orchestrator {
    /// Lets somebody in who asked for it.
    ///
    /// # Errors
    /// When nobody waits with that code, too many wrong ones were tried, or the database fails.
    pub async fn pair(
        &self,
        asked: Asked,
        role: Role,
        by: Decider,
    ) -> Result<Account, PeopleError> {
        self.core.pair(asked, role, by).await
    }

    /// Turns somebody away who asked to be let in.
    ///
    /// # Errors
    /// When they do not wait any more, or the database fails.
    pub async fn turn_away(&self, id: PairingId, by: Decider) -> Result<(), PeopleError> {
        self.core.turn_away(id, by).await
    }

    /// Gives an account a role; `owner` says that it is the owner's own, who then is one person with it.
    ///
    /// # Errors
    /// When there is no such account, it is the owner's own, or the database fails.
    pub async fn set_role(
        &self,
        id: UserId,
        role: Role,
        by: Decider,
    ) -> Result<Account, PeopleError> {
        self.core.set_role(id, role, by).await
    }

    /// Takes an account's rights away.
    ///
    /// # Errors
    /// As for [`Self::set_role`].
    pub async fn remove_user(&self, id: UserId, by: Decider) -> Result<Account, PeopleError> {
        self.core.remove(id, by).await
    }

    /// Decides a question by a button. Who may talk may not thereby decide: that says the question.
    pub(super) async fn press(&self, press: Press) -> Result<String, PressError> {
        let Some(user) = self.presser(&press).await? else {
            let text = "I do not know you, so this does not count.";
            return Err(PressError::Refused(text.to_owned()));
        };
        let Some(choice) = Choice::parse(&press.choice) else {
            let text = "This button means nothing any more.";
            return Err(PressError::Refused(text.to_owned()));
        };
        let at = &press.from;
        let by = Decider {
            user: user.id,
            name: user.name,
            role: user.role,
            via: at.connector.clone(),
            from: Origin::from(format!("{} {}/{}", at.connector, at.account, at.chat)),
        };
        let decision = Decision {
            id: press.question,
            choice,
            steps: None,
            reason: None,
        };
        match self.decide(decision, by).await {
            Ok(question) => Ok(format!("{}: {}", choice.word(), question.summary)),
            Err(DecideError::Store(error)) => Err(PressError::Later(error)),
            Err(DecideError::Unknown) => {
                let text = "This is not yours to decide.";
                Err(PressError::Refused(text.to_owned()))
            }
            Err(error) => Err(PressError::Refused(sentence(&error.to_string()))),
        }
    }

    /// Who pressed, with the rights that they have now; none for a stranger.
    async fn presser(&self, press: &Press) -> Result<Option<User>, crate::store::StoreError> {
        let now = self.core.parts.clock.now();
        let (at, user, admission) = (press.from.clone(), press.user.clone(), press.admission);
        let name = if press.name.is_empty() {
            user.clone()
        } else {
            press.name.clone()
        };
        let write = self.core.parts.store.write(move |tx| {
            let account = inbox::account(&at, &user);
            users::admit(tx, (&at.connector, &account), (&name, admission), now)
        });
        write.await
    }
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}
