//! What was spent, what is left, and what a message would cost.

use std::time::Duration;

use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::json;

use super::{
    App,
    access::Caller,
    audit::moment,
    chat,
    error::{ApiError, ApiResult, Json, Query},
};
use crate::{
    orchestrator::{Draft, Estimate},
    store::{
        reservations,
        usage::{self, By, Line},
        users::Role,
    },
    types::{Attachment, SessionId, Timestamp, money::Usd},
};

#[derive(Deserialize)]
pub(super) struct Wanted {
    by: Option<String>,
    days: Option<u64>,
    since: Option<String>,
    format: Option<String>,
}

/// Sums since a moment, or of the last days, 30 unless told otherwise; and how the budgets stand.
pub(super) async fn report(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    caller.need(Role::Owner)?;
    let by = by(wanted.by.as_deref().unwrap_or("day"))?;
    let zone = app.agent.parts().kit.schedules.zone();
    let now = app.clock().now();
    let since = match wanted.since.as_deref() {
        Some(text) => since(text, zone)?,
        None => now.minus(Duration::from_hours(
            24 * wanted.days.unwrap_or(30).min(36_500),
        )),
    };
    let csv = match wanted.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(other) => return Err(ApiError::invalid(format!("`{other}`: json or csv"))),
    };
    let budgets = app.agent.parts().live().budgets.clone();
    let currency = budgets.currency().code().to_owned();
    let read = app.store().read(move |c| {
        let lines = usage::report(c, by, (since, zone))?;
        let left = budgets.overview(c, (now, zone))?;
        Ok((lines, left, reservations::pending(c)?))
    });
    let (lines, left, (running, reserved)) = read.await?;
    if csv {
        return Ok(download(by, &lines));
    }
    let total = lines
        .iter()
        .fold(Usd(0), |sum, line| sum.plus(line.cost_usd));
    Ok(Answer(json!({
        "by": by.as_str(),
        "since": since,
        "time_zone": zone.name(),
        "usage": lines,
        "total": { "cost_usd": total, "cost": total.to_string() },
        "running": { "calls": running, "reserved_usd": reserved },
        "currency": currency,
        "budgets": left,
    }))
    .into_response())
}

fn by(name: &str) -> ApiResult<By> {
    By::parse(name).ok_or_else(|| {
        let names: Vec<&str> = By::ALL.iter().map(|by| by.as_str()).collect();
        ApiError::bad(format!("`{name}`: sum by {}", names.join(", ")))
    })
}

/// A day begins where the owner is.
fn since(text: &str, zone: Tz) -> ApiResult<Timestamp> {
    if let Ok(day) = text.trim().parse::<NaiveDate>() {
        return Ok(crate::budget::midnight(day, zone));
    }
    moment(Some(text), "since").map(|at| at.unwrap_or(Timestamp(0)))
}

fn download(by: By, lines: &[Line]) -> Response {
    let name = format!("attachment; filename=\"usage-by-{}.csv\"", by.as_str());
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    (headers, csv(by, lines)).into_response()
}

/// RFC 4180, with exact decimal amounts.
fn csv(by: By, lines: &[Line]) -> String {
    let head =
        "name,calls,failed,input_tokens,cached_tokens,output_tokens,cost_usd,estimated,unpriced";
    let mut text = format!("{},{head}\r\n", by.as_str());
    for line in lines {
        let name = line.name.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{},{},{}\r\n",
            quoted(&line.key),
            quoted(name),
            line.calls,
            line.failed,
            line.input_tokens,
            line.cached_tokens,
            line.output_tokens,
            line.cost_usd,
            line.estimated,
            line.unpriced
        ));
    }
    text
}

/// A cell; what a spreadsheet would run as a formula is text.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[derive(Deserialize)]
pub(super) struct Question {
    #[serde(default)]
    message: String,
    session_id: Option<SessionId>,
    agent: Option<String>,
    model: Option<String>,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

/// What a message would cost.
pub(super) async fn estimate(
    State(app): State<App>,
    caller: Caller,
    Json(question): Json<Question>,
) -> ApiResult<Answer<Estimate>> {
    caller.need(Role::Member)?;
    chat::known_agent(question.agent.as_deref())?;
    if let Some(session) = question.session_id {
        chat::own(&app, &caller, session).await?;
    }
    let images = question.attachments.iter();
    let images = images
        .filter(|file| file.media_type.starts_with("image/"))
        .count();
    let named = question.model.clone().unwrap_or_default();
    let draft = Draft {
        text: question.message,
        images: images as u64,
        session: question.session_id,
        model: question.model,
        user: caller.user,
        channel: caller.channel.to_owned(),
    };
    let estimate = app.agent.estimate(draft).await?;
    estimate.map(Answer).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "NO_SUCH_MODEL",
            format!("there is no provider `{named}`; name one of llm.providers, or PROVIDER/MODEL"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_reads_what_was_written_and_runs_nothing() {
        let line = Line {
            key: "a,b".to_owned(),
            name: Some("=HYPERLINK(\"x\")".to_owned()),
            cost_usd: Usd(1_230_000_001),
            ..Line::default()
        };
        assert_eq!(
            csv(By::Session, &[line]),
            "session,name,calls,failed,input_tokens,cached_tokens,output_tokens,cost_usd,estimated,unpriced\r\n\
             \"a,b\",\"'=HYPERLINK(\"\"x\"\")\",0,0,0,0,0,1.230000001,0,0\r\n"
        );
    }
}
