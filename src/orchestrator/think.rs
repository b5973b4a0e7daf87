//! Skills that think: what a skill asks a model is routed, counted and written down like a step of the
//! turn that runs it.

use async_trait::async_trait;

use super::{
    Core,
    model::{self, Answered, Bill, Call, End},
};
use crate::{
    providers::{Request, Wish},
    store::{
        Result as Stored, models,
        usage::{self, Spent},
    },
    tools::{Answer, Scope, Think, Thought},
    types::{StepId, Timestamp, chat::Message, money::Usd},
};

#[async_trait]
impl Think for Core {
    async fn think(&self, scope: &Scope, thought: Thought) -> Result<Answer, String> {
        let wish = Wish::of(thought.task);
        let call = Call {
            core: self,
            wish: &wish,
            bill: bill(scope, &thought.skill),
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
        let began = self.parts.clock.now();
        let answered = model::think(&call, &request).await.map_err(why)?;
        let cost = write(&call, &answered, began)
            .await
            .map_err(|e| format!("what the model answered could not be written: {e}"))?;
        Ok(Answer {
            text: answered.said.text,
            provider: answered.about.name,
            model: answered.about.model,
            usage: answered.said.usage,
            cost_usd: cost,
            cached: answered.cached,
        })
    }
}

fn bill(scope: &Scope, skill: &str) -> Bill {
    Bill {
        id: StepId::new(),
        purpose: format!("skill:{skill}"),
        turn: scope.turn,
        session: scope.place.session,
        user: scope.place.user,
        channel: scope.place.address.connector.clone(),
    }
}

/// What a skill reads that gets no answer.
fn why(end: End) -> String {
    match end {
        End::Stopped(_) => "stopped".to_owned(),
        End::Unknown(text) => text,
        End::Failed(Some(error)) => format!("no model answered: {error}"),
        End::Failed(None) => {
            "no model is connected: llm.providers in the configuration names them".to_owned()
        }
        End::LeftAlone(why) => format!("no model can be asked just now: {why}"),
    }
}

/// What it took, and for the trace that it was asked.
async fn write(call: &Call<'_>, answered: &Answered, began: Timestamp) -> Stored<Option<Usd>> {
    let (about, usage) = (&answered.about, answered.said.usage);
    let parts = &call.core.parts;
    let price = parts.live().providers.price(about, &about.model);
    let cost = price.map(|price| price.of(usage));
    let bill = call.bill.clone();
    let spent = Spent {
        step: bill.id,
        purpose: bill.purpose,
        turn: bill.turn,
        session: bill.session,
        user: bill.user,
        channel: bill.channel,
        provider: about.name.clone(),
        model: about.model.clone(),
        usage,
        cost,
    };
    // Of a kept answer the trace has its row already.
    let row = (!answered.cached).then(|| call.row(about, began));
    let now = parts.clock.now();
    let write = parts.store.keep(move |tx| {
        usage::insert(tx, &spent, now)?;
        row.iter().try_for_each(|row| models::insert(tx, row))
    });
    write.await?;
    Ok(cost)
}
