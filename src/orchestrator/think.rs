//! Skills that think: what a skill asks a model is routed, reserved, counted and written down like a step
//! of the turn that runs it.

use async_trait::async_trait;

use super::{
    Core,
    model::{self, Answered, Call, End},
    spend::{self, Guard, Purse},
};
use crate::{
    providers::{Request, Wish},
    store::{Result as Stored, reservations::Bill},
    tools::{Answer, Scope, Think, Thought},
    types::{
        StepId,
        chat::{Message, Usage},
        money::Usd,
    },
};

#[async_trait]
impl Think for Core {
    async fn think(&self, scope: &Scope, thought: Thought) -> Result<Answer, String> {
        let wish = Wish::of(thought.task);
        let purse = Purse::new(Usd::default());
        let _settled = Guard {
            core: self,
            purse: &purse,
        };
        let call = Call {
            core: self,
            wish: &wish,
            bill: bill(scope, &thought.skill),
            purse: &purse,
            cancel: &scope.cancel,
            work: None,
        };
        let request = Request {
            system: thought.system,
            messages: vec![Message::User {
                text: thought.prompt,
                images: Vec::new(),
            }],
            max_output_tokens: thought.max_output_tokens,
            temperature: thought.temperature,
            ..Request::default()
        };
        let answered = model::think(&call, &request).await.map_err(why)?;
        let (usage, cost) = write(&call, &answered)
            .await
            .map_err(|e| format!("what the model answered could not be written: {e}"))?;
        Ok(Answer {
            text: answered.said.text,
            provider: answered.about.name,
            model: answered.about.model,
            usage,
            cost_usd: cost,
            cached: answered.cached,
        })
    }
}

fn bill(scope: &Scope, skill: &str) -> Bill {
    Bill {
        step: Some(StepId::new()),
        turn: scope.turn,
        session: scope.place.session,
        user: scope.place.user,
        person: scope.place.person,
        agent: spend::AGENT.to_owned(),
        channel: scope.place.address.connector.clone(),
        schedule: scope.schedule,
        purpose: format!("skill:{skill}"),
    }
}

/// What a skill reads that gets no answer.
fn why(end: End) -> String {
    match end {
        End::Stopped(_) => "stopped".to_owned(),
        End::Unknown(text) | End::Budget(text) => text,
        End::Failed(Some(error)) => format!("no model answered: {error}"),
        End::Failed(None) => {
            "no model is connected: llm.providers in the configuration names them".to_owned()
        }
        End::LeftAlone(why) => format!("no model can be asked just now: {why}"),
    }
}

/// Settles what it took, and answers that.
async fn write(call: &Call<'_>, answered: &Answered) -> Stored<(Usage, Option<Usd>)> {
    let paid = call.purse.paid(call.core, &answered.said, &answered.about);
    let Some(charge) = paid else {
        return Ok((answered.said.usage, None));
    };
    let took = (charge.usage(), charge.cost());
    let now = call.core.parts.clock.now();
    let write = call.core.parts.store.keep(move |tx| charge.write(tx, now));
    write.await?;
    Ok(took)
}
