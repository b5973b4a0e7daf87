//! The time line of a message.

use axum::{Json as Answer, extract::State};

use super::{
    App,
    access::Caller,
    chat::own,
    error::{ApiError, ApiResult, Path},
};
use crate::{orchestrator::Trace, types::MessageId};

/// Every stage with its times.
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<MessageId>,
) -> ApiResult<Answer<Trace>> {
    let trace = app.agent.trace(id).await?;
    let trace = trace.ok_or_else(|| ApiError::not_found("such message"))?;
    own(&app, &caller, trace.session_id).await?;
    Ok(Answer(trace))
}
