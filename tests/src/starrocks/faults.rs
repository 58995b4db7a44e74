//! Every fault that a load can meet.

use starrocks_stand_in::{BadReply, Fault, Outage, Turn};

/// What a loader has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes on by itself.
    GoesOn,
    /// Somebody has to be asked.
    Stops,
}
use Then::{GoesOn, Stops};

/// At an endpoint of a load.
pub fn faults() -> Vec<(&'static str, Fault, Then)> {
    let fe = ["fe.begin", "fe.load", "fe.commit"];
    let be = ["be.begin", "be.load", "be.commit"];
    let mut faults = Vec::new();
    for endpoint in fe {
        faults.push((endpoint, Fault::RedirectToDeadBe, GoesOn));
        faults.push((endpoint, Fault::SlowRedirect { delay_ms: 700 }, GoesOn));
        faults.push((endpoint, Fault::NoBackendAlive, GoesOn));
    }
    for endpoint in be {
        faults.push((endpoint, Fault::BeRestart { turn: Turn::Before }, GoesOn));
        faults.push((endpoint, Fault::BeRestart { turn: Turn::After }, GoesOn));
        faults.push((endpoint, Fault::SlowBe { bytes_per_s: Some(20_000), reply_delay_ms: 50 }, GoesOn));
        faults.push((endpoint, Fault::TxnTimedOut, GoesOn));
    }
    for endpoint in fe.into_iter().chain(be) {
        faults.push((endpoint, Fault::LoseReply, GoesOn));
        faults.push((endpoint, Fault::LeaderSwitch { to: None, turn: Turn::Before }, GoesOn));
        faults.push((endpoint, Fault::LeaderSwitch { to: None, turn: Turn::After }, GoesOn));
        for how in [BadReply::Truncated, BadReply::HalfJson, BadReply::NotJson, BadReply::Empty] {
            faults.push((endpoint, Fault::BadReply { how }, GoesOn));
        }
        for how in [Outage::Error500, Outage::Error502, Outage::Reset] {
            faults.push((endpoint, Fault::Unavailable { how }, GoesOn));
        }
    }
    faults.extend([
        ("fe.load", Fault::RedirectToHungBe, GoesOn),
        ("fe.begin", Fault::AuthRefused, Stops),
        ("fe.load", Fault::AuthRefused, Stops),
        ("fe.commit", Fault::AuthRefused, Stops),
        ("be.begin", Fault::TooManyRunning, GoesOn),
        ("be.begin", Fault::LabelExistsRunning, Stops),
        ("be.begin", Fault::LabelExistsFinished, Stops),
        ("be.begin", Fault::DiskFull, GoesOn),
        ("be.load", Fault::DiskFull, GoesOn),
        ("be.begin", Fault::QuotaExceeded, Stops),
        ("be.load", Fault::QuotaExceeded, Stops),
        ("be.load", Fault::RefuseBeforeBody { message: None }, GoesOn),
        ("be.load", Fault::NeverContinue, GoesOn),
        ("be.load", Fault::ProxyBuffers { delay_ms: Some(100) }, GoesOn),
        ("be.load", Fault::TxnNotExists, GoesOn),
        ("be.load", Fault::TxnInProcessing, GoesOn),
        ("be.load", Fault::ErrorMidBody { status: 500, after_bytes: 100 }, GoesOn),
        ("be.load", Fault::ResetNotCommitted { stays: false }, GoesOn),
        ("be.load", Fault::ResetNotCommitted { stays: true }, GoesOn),
        ("be.load", Fault::SchemaChanged, GoesOn),
        ("be.commit", Fault::PublishTimeout { visible_after_ms: Some(100) }, GoesOn),
        ("be.commit", Fault::TxnNotExists, GoesOn),
        ("be.commit", Fault::ResetNotCommitted { stays: false }, GoesOn),
        ("be.commit", Fault::ResetNotCommitted { stays: true }, GoesOn),
        ("be.commit", Fault::TooManyVersions, GoesOn),
        ("commit", Fault::CommitPublishTimeout { visible_after_ms: Some(100) }, GoesOn),
    ]);
    faults
}
