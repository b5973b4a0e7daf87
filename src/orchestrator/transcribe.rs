//! Voice notes: what is said in them is written down before a model is asked, once, and kept with the
//! file. A model reads it as part of the message; where it could not be written down, that a note is there.

use rusqlite::Connection;

use super::{
    model::{self, Call},
    spend::{self, Charge, Guard},
    work::Work,
};
use crate::{
    providers::Transcriber,
    store::{
        Result,
        voices::{self, Voice},
    },
    types::{Attachment, MessageId, StepId, frame::Body},
};

/// Has the voice notes written down that a turn is asked with, and adds them to what it is asked.
pub(super) async fn listen(work: &mut Work) -> Result<()> {
    let asked = work.also.iter().filter(|m| m.joined.is_none());
    let ids: Vec<MessageId> = asked.chain([&work.asked]).map(|m| m.id).collect();
    hear(work, ids.clone()).await?;
    let text = work.asked.text.clone();
    let read = work.core.parts.store.read(move |c| {
        ids.into_iter()
            .try_fold(text, |text, id| with_voices(c, id, text))
    });
    work.asked.text = read.await?;
    Ok(())
}

/// Has the voice notes of some messages written down. One that cannot be is a notice.
pub(super) async fn hear(work: &Work, messages: Vec<MessageId>) -> Result<()> {
    let live = work.core.parts.live();
    let Some(transcriber) = live.providers.transcriber() else {
        return Ok(());
    };
    let store = &work.core.parts.store;
    let found = store.read(move |c| {
        let all = messages.into_iter().map(|id| voices::of(c, id));
        all.collect::<Result<Vec<_>>>()
    });
    for voice in found.await?.into_iter().flatten() {
        if voice.transcript.is_some() {
            continue;
        }
        tokio::select! {
            done = write_down(work, transcriber, &voice) => done?,
            () = work.cancel.cancelled() => return Ok(()),
        }
    }
    Ok(())
}

async fn write_down(work: &Work, transcriber: &Transcriber, voice: &Voice) -> Result<()> {
    let store = &work.core.parts.store;
    let id = voice.id;
    let Some(file) = store.read(move |c| voices::file(c, id)).await? else {
        return Ok(());
    };
    let _settled = Guard {
        core: &work.core,
        purse: &work.purse,
    };
    match ask(work, transcriber, &file).await {
        Ok((text, charge)) => {
            let now = work.core.parts.clock.now();
            let keep = store.keep(move |tx| {
                voices::keep(tx, id, &text)?;
                charge.iter().try_for_each(|charge| charge.write(tx, now))
            });
            keep.await
        }
        Err(why) => {
            tracing::warn!(turn_id = %work.turn.id, why, "a voice note could not be written down");
            let session = work.turn.session;
            let notice = Body::Notice {
                turn_id: Some(work.turn.id),
                code: "transcription".to_owned(),
                text: format!(
                    "The voice note `{}` could not be written down: {why}",
                    file.name
                ),
            };
            store.keep(move |tx| tx.show(session, notice.clone())).await
        }
    }
}

/// What is said in a file, and what that took; it counts in budgets like what a model reads.
async fn ask(
    work: &Work,
    transcriber: &Transcriber,
    file: &Attachment,
) -> std::result::Result<(String, Option<Charge>), String> {
    let call = Call {
        core: &work.core,
        wish: &work.wish,
        bill: model::bill(work, Some(StepId::new()), spend::SOUND),
        purse: &work.purse,
        cancel: &work.cancel,
        work: None,
    };
    let about = transcriber.about();
    let costs = (transcriber.quote(), Transcriber::tokens(file));
    spend::reserve_sound(&call, &about, costs).await?;
    match transcriber.transcribe(file).await {
        Ok(heard) => {
            let charge = work.purse.took(&work.core, heard.usage, &about);
            Ok((heard.text, charge))
        }
        Err(error) => {
            spend::failed(&call, &error).await;
            Err(Transcriber::why(&error))
        }
    }
}

/// A message's text with what is said in the voice notes that came with it.
pub(super) fn with_voices(c: &Connection, message: MessageId, text: String) -> Result<String> {
    let mut text = text;
    for voice in voices::of(c, message)? {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&note(&voice));
    }
    Ok(text)
}

fn note(voice: &Voice) -> String {
    let name = &voice.name;
    match voice.transcript.as_deref() {
        Some("") => format!("(A voice note `{name}` came with this; nothing is said in it.)"),
        Some(said) => format!("(Said in the voice note `{name}`:)\n{said}"),
        None => {
            format!("(A voice note `{name}` came with this; nobody wrote down what is said in it.)")
        }
    }
}
