//! `starrocks-stand-in`: the stand-in as a process. Prints one line of JSON with its ports when it is ready, and ends on
//! SIGTERM, on ctrl-c, or with its standard input.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use starrocks_stand_in::{Settings, StandIn};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
starrocks-stand-in [--settings JSON] [--until-stdin-closes]

  --settings JSON        as in GET /settings of the control port; what is not said stays as it is:
                         '{\"frontends\": 1, \"database\": \"test\", \"ports\": {\"fe\": [8030], \"be\": [8040], \"mysql\": [9030]}}'
  --until-stdin-closes   end when standard input does
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let (mut settings, mut until_stdin_closes) = (Settings::default(), false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--settings" => {
                let text = words.next().context("--settings wants JSON")?;
                settings = serde_json::from_str(&text).context("read --settings")?;
            }
            "--until-stdin-closes" => until_stdin_closes = true,
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(());
            }
            other => bail!("{other} is not known\n{USAGE}"),
        }
    }
    let stand_in = StandIn::start(settings)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(stand_in.ports())?)
        .and_then(|()| out.flush())
        .context("print the ports")?;
    let mut terminated = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        () = end_of_input(), if until_stdin_closes => {}
    }
    // Standard input is read on a thread that cannot be woken: so the process ends here.
    drop(stand_in);
    std::process::exit(0);
}

async fn end_of_input() {
    let mut sink = [0; 1_024];
    let mut input = tokio::io::stdin();
    while input.read(&mut sink).await.is_ok_and(|n| n > 0) {}
}
