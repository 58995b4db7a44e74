//! What a test does to the cluster as a whole: who leads, who lives, who shows what when.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::stand::Stand;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// To this FE, or to the next one. Transactions in PREPARE are lost.
    SwitchLeader {
        to: Option<usize>,
    },
    /// Its connections are reset, its port refuses others; the next FE leads, if it led.
    StopFe {
        fe: usize,
    },
    StartFe {
        fe: usize,
    },
    /// Memory and connections are lost; FEs notice nothing.
    RestartBe {
        be: usize,
    },
    /// FEs notice: transactions in PREPARE that it has are aborted.
    KillBe {
        be: usize,
    },
    ReviveBe {
        be: usize,
    },
    /// Connections are taken and nothing is answered, as by a process that is stopped.
    FreezeFe {
        fe: usize,
    },
    ThawFe {
        fe: usize,
    },
    FreezeBe {
        be: usize,
    },
    ThawBe {
        be: usize,
    },
    /// From commit to visible (the leader), or from there to the follower's.
    PublishDelay {
        fe: usize,
        delay_ms: u64,
    },
    /// Lets go of publishes and bodies that faults hold.
    Release,
    /// The look at timeouts, and the forgetting of labels by count and age, now.
    Clean,
    ForgetLabel {
        database: String,
        label: String,
    },
    /// Puts the cluster's clock forward.
    Skip {
        ms: u64,
    },
    /// An FE's setting, as ADMIN SET FRONTEND CONFIG does it.
    Config {
        name: String,
        value: String,
    },
}

/// A node that is stopped is gone when it is said to be: its listener ends in a task of its own, and what connected until then
/// would be taken and dropped. No event tells when a port refuses.
async fn until_refused(ports: &[u16]) {
    for port in ports {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A new leader shows at once what was visible; it is waited for that long.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

impl Action {
    /// Does it; the error is for people.
    pub async fn run(&self, stand: &Stand) -> Result<Value, String> {
        let fe = |n: &usize| stand.frontends.get(*n).ok_or_else(|| format!("there is no FE {n}"));
        let be = |n: &usize| stand.backends.get(*n).ok_or_else(|| format!("there is no BE {n}"));
        match self {
            Action::SwitchLeader { to } => {
                to.iter().try_for_each(|to| fe(to).map(drop))?;
                switch_leader(stand, *to).await;
            }
            Action::StopFe { fe: n } => {
                fe(n)?.send_modify(|state| state.is_up = false);
                until_refused(&[stand.ports.fe[*n], stand.ports.mysql[*n]]).await;
                if stand.look(|cluster| cluster.leader) == *n {
                    switch_leader(stand, None).await;
                }
            }
            Action::StartFe { fe: n } => fe(n)?.send_modify(|state| {
                state.is_up = true;
                state.epoch += 1;
            }),
            Action::RestartBe { be: n } => {
                be(n)?.send_modify(|state| state.epoch += 1);
                stand.update(|cluster| cluster.restart_backend(*n));
            }
            Action::KillBe { be: n } => {
                be(n)?.send_modify(|state| state.is_up = false);
                until_refused(&[stand.ports.be[*n]]).await;
                stand.update(|cluster| cluster.kill_backend(*n));
            }
            Action::ReviveBe { be: n } => {
                be(n)?.send_modify(|state| {
                    state.is_up = true;
                    state.epoch += 1;
                });
                stand.update(|cluster| cluster.revive_backend(*n));
            }
            Action::FreezeFe { fe: n } => fe(n)?.send_modify(|state| state.is_frozen = true),
            Action::ThawFe { fe: n } => fe(n)?.send_modify(|state| state.is_frozen = false),
            Action::FreezeBe { be: n } => be(n)?.send_modify(|state| state.is_frozen = true),
            Action::ThawBe { be: n } => be(n)?.send_modify(|state| state.is_frozen = false),
            Action::PublishDelay { fe: n, delay_ms } => {
                fe(n)?;
                stand.update(|cluster| cluster.publish_delays[*n] = Duration::from_millis(*delay_ms));
            }
            Action::Release => {
                stand.releases.send_modify(|n| *n += 1);
                return Ok(json!({ "released": stand.update(|cluster| cluster.release()) }));
            }
            Action::Clean => return Ok(clean(stand)),
            Action::ForgetLabel { database, label } => {
                let is_forgotten = stand.update(|cluster| cluster.forget_label(database, label));
                return Ok(json!({ "forgotten": is_forgotten }));
            }
            Action::Skip { ms } => stand.update(|cluster| cluster.skip(Duration::from_millis(*ms))),
            Action::Config { name, value } => stand.update(|cluster| cluster.set_config(name, value))?,
        }
        Ok(json!({}))
    }
}

/// Timeouts, then labels.
pub fn clean(stand: &Stand) -> Value {
    let late = stand.update(|cluster| cluster.late());
    let n_aborted = late.iter().filter(|(database, id)| stand.abort(database, *id, "timeout by txn manager")).count();
    let n_forgotten = stand.update(|cluster| cluster.forget_labels());
    json!({ "aborted": n_aborted, "forgotten": n_forgotten })
}

/// Returns when the new leader shows all that was visible.
pub async fn switch_leader(stand: &Stand, to: Option<usize>) {
    let to = stand.update(|cluster| {
        let to = to.unwrap_or_else(|| next_leader(stand, cluster.leader));
        if to != cluster.leader {
            cluster.switch_leader(to);
        }
        to
    });
    let caught_up = stand.until(CATCH_UP_MAX, |cluster| cluster.shows_all(to).then_some(())).await;
    if caught_up.is_none() {
        stand.log(|log| log.count("a new leader was late", 1));
    }
}

/// The next FE that is up.
fn next_leader(stand: &Stand, leader: usize) -> usize {
    let n = stand.frontends.len();
    let mut others = (1..n).map(|step| (leader + step) % n);
    others.find(|fe| stand.frontends[*fe].borrow().is_up).unwrap_or(leader)
}
