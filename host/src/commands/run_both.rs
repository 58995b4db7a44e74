//! `hindsight run` with a topic: both halves in one process, each as if it were alone.

use std::time::Instant;

use anyhow::anyhow;
use tokio::sync::watch;

use super::run::{self, Course, Half, report, report_json};
use super::run_apply::Applying;
use super::run_capture::Capturing;
use crate::cli;
use crate::config::{Config, TopicConfig};
use crate::control::CaptureHalf;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::source::mysql::End;

/// Goes on until SIGINT or SIGTERM, or until one half fails; with `--to-end` what the source has now is captured, then applied.
pub async fn run(config: &Config, topic: &TopicConfig, args: &cli::Run) -> Outcome<()> {
    if args.events.is_some() {
        return Err(Failure::usage(anyhow!("--events is for a pipeline without a topic, which holds the same events")));
    }
    let port = run::port(config, args).await?;
    let course = Course::of(args);
    let stop = watch::Sender::new(false);
    let of_half = Course { stop: stop.subscribe(), ..course.clone() };
    let (mut asked, told) = (course.stop.clone(), stop.clone());
    tokio::spawn(async move {
        if asked.wait_for(|stop| *stop).await.is_ok() {
            told.send_replace(true);
        }
    });
    let applying = Applying::new(config, topic, of_half.clone())?;
    let capturing = Capturing::open(config, topic, of_half).await?;
    let of_capture = capturing.half();
    let capture = CaptureHalf { status: of_capture.status, metrics: of_capture.metrics };
    Half { source: of_capture.source, capture: Some(capture), ..applying.half() }.serve(port)?;

    let started = Instant::now();
    let (captured, applied) = match course.end {
        End::AsOpened => {
            let captured = capturing.follow().await?;
            (captured, applying.follow().await?)
        }
        _ => {
            // Where one has ended, the other one does too, behind the batch in hand.
            let capturing = async {
                let captured = capturing.follow().await;
                stop.send_replace(true);
                captured
            };
            let applying = async {
                let applied = applying.follow().await;
                stop.send_replace(true);
                applied
            };
            let (captured, applied) = tokio::join!(capturing, applying);
            (captured?, applied?)
        }
    };
    if args.json.json {
        let applied = report_json(&applied, started.elapsed());
        return output::print_json(&serde_json::json!({ "capture": captured.json(), "apply": applied }));
    }
    captured.print(false)?;
    report(config, &applied, false, started.elapsed(), false);
    Ok(())
}
