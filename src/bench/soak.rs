//! Memory over time: one very long conversation and many at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::{join_all, try_join};

use super::{line, megabytes, model::Model, rig::Rig};

/// Turns of the long conversation: a question and an answer each.
const LONG: usize = 5000;
/// Conversations at once, and turns in each.
const MANY: (usize, usize) = (500, 20);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(500);
/// Where the plot goes.
const PLOT: &str = "nexflow-soak.svg";

/// A look: seconds since the start, messages by then, resident bytes.
#[derive(Clone, Copy)]
struct Look {
    at: f64,
    messages: usize,
    bytes: u64,
}

pub(super) async fn run() -> anyhow::Result<()> {
    let model = Model::start().await?;
    let rig = Rig::start(&model.url).await?;
    let turns = AtomicUsize::new(0);
    let talk = async |count: usize| -> anyhow::Result<()> {
        let mut session = None;
        for _ in 0..count {
            rig.ask(&mut session, "how are you today, and what is new?")
                .await?;
            turns.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let (mut looks, began) = (Vec::new(), Instant::now());
    let many = async {
        let all = join_all((0..MANY.0).map(|_| talk(MANY.1))).await;
        all.into_iter().collect::<anyhow::Result<()>>()
    };
    let mut work = std::pin::pin!(try_join(many, talk(LONG)));
    loop {
        tokio::select! {
            done = &mut work => break done.map(|_| ())?,
            () = tokio::time::sleep(LOOK) => {}
        }
        let messages = turns.load(Ordering::Relaxed) * 2;
        looks.push(look(&rig, began, messages)?);
    }
    // Idle: what is kept when nothing runs.
    tokio::time::sleep(Duration::from_secs(3)).await;
    looks.push(look(&rig, began, turns.load(Ordering::Relaxed) * 2)?);
    show(&looks);
    std::fs::write(PLOT, plot(&looks))?;
    line("plot", PLOT, "");
    Ok(())
}

fn look(rig: &Rig, began: Instant, messages: usize) -> anyhow::Result<Look> {
    Ok(Look {
        at: began.elapsed().as_secs_f64(),
        messages,
        bytes: rig.memory_kb()? * 1024,
    })
}

/// Memory at tenths of the messages.
fn show(looks: &[Look]) {
    let last = looks.last().map_or(0, |l| l.messages);
    for tenth in [1, 2, 4, 6, 8, 10] {
        let Some(look) = looks.iter().find(|l| l.messages * 10 >= last * tenth) else {
            continue;
        };
        let name = format!(
            "resident after {} messages, {:.0} s",
            look.messages, look.at
        );
        line(&name, &megabytes(look.bytes), "flat");
    }
    let idle = looks.last().map_or(0, |l| l.bytes);
    line("resident when idle again", &megabytes(idle), "");
}

/// Memory over time as a picture.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a picture has fewer pixels than a float has digits"
)]
fn plot(looks: &[Look]) -> String {
    let (width, height, edge) = (800.0, 300.0, 50.0);
    let end = looks.last().map_or(1.0, |l| l.at.max(1.0));
    let most = looks.iter().map(|l| l.bytes).max().unwrap_or(1) as f64 * 1.1;
    let points: Vec<String> = looks
        .iter()
        .map(|l| {
            let x = edge + l.at / end * width;
            let y = edge + height - l.bytes as f64 / most * height;
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let messages = looks.last().map_or(0, |l| l.messages);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 400" font-family="sans-serif" font-size="12">
<rect width="900" height="400" fill="#fff"/>
<polyline fill="none" stroke="#888" points="50,50 50,350 850,350"/>
<polyline fill="none" stroke="#0a6" stroke-width="2" points="{points}"/>
<text x="50" y="30">Resident memory while {messages} messages were said: one conversation of {long}, {many} conversations at once</text>
<text x="8" y="55">{most}</text>
<text x="8" y="354">0</text>
<text x="800" y="370">{end:.0} s</text>
</svg>
"##,
        points = points.join(" "),
        long = LONG * 2,
        many = MANY.0,
        most = megabytes(most as u64),
    )
}
