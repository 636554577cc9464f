use std::future::pending;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::error::ErrorKind;

/// A sink that misbehaves as told.
#[derive(Debug)]
enum Bad {
    Fails,
    Hangs,
    Panics,
}

#[async_trait]
impl AuditSink for Bad {
    async fn record(&self, _: &AuditEvent) -> Result<()> {
        match self {
            Self::Fails => Err(Error::outage("the disk is full", "no space left")),
            Self::Hangs => pending().await,
            Self::Panics => panic!("a defect of the sink"),
        }
    }
}

fn auditor(sink: impl AuditSink) -> Auditor {
    Auditor::with_patience(Arc::new(sink), Arc::new(SystemClock::new()), Duration::ZERO)
}

fn patient(sink: impl AuditSink) -> Auditor {
    Auditor::new(Arc::new(sink), Arc::new(SystemClock::new()))
}

fn organization(number: i64) -> OrganizationId {
    OrganizationId::from_i64(number).unwrap()
}

fn entered(number: i64) -> AuditEvent {
    AuditEvent::new(AuditKind::ScopeEntered, OffsetDateTime::UNIX_EPOCH)
        .about(&organization(number))
}

#[tokio::test]
async fn ordinary_events_arrive_in_order() {
    let sink = MemorySink::new();
    let auditor = patient(sink.clone());
    for principal in ["a", "b", "c"] {
        auditor.note(entered(1).by(&principal));
    }
    auditor.flush().await.unwrap();
    let who: Vec<_> = sink.all().into_iter().filter_map(|event| event.principal).collect();
    assert_eq!(who, ["a", "b", "c"]);
    assert_eq!(auditor.dropped(), 0);
}

#[tokio::test]
async fn a_bad_sink_drops_ordinary_events_and_stops_required_ones() {
    for bad in [Bad::Fails, Bad::Hangs, Bad::Panics] {
        let name = format!("{bad:?}");
        let auditor = Auditor::with_patience(
            Arc::new(bad),
            Arc::new(SystemClock::new()),
            Duration::from_millis(1),
        );
        auditor.note(entered(1));
        auditor.note(entered(1));
        while auditor.dropped() < 2 {
            tokio::task::yield_now().await;
        }
        let error = auditor.require(entered(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}");
        assert_eq!(error.to_string(), "the act cannot be recorded and was not done");
    }
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_does_not_wait() {
    let auditor = patient(Bad::Hangs);
    for _ in 0..QUEUE + 10 {
        auditor.note(entered(1));
    }
    assert_eq!(auditor.dropped(), 10);
}

#[tokio::test]
async fn a_flush_does_not_wait_for_a_sink_that_hangs() {
    let auditor = auditor(Bad::Hangs);
    auditor.note(entered(1));
    assert_eq!(auditor.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let idle = patient(Bad::Hangs);
    idle.flush().await.unwrap();
}

#[test]
fn without_a_runtime_a_ready_sink_keeps_and_another_drops() {
    let sink = MemorySink::new();
    patient(sink.clone()).note(entered(1));
    assert_eq!(sink.len(), 1);

    for bad in [Bad::Fails, Bad::Hangs, Bad::Panics] {
        let auditor = patient(bad);
        auditor.note(entered(1));
        assert_eq!(auditor.dropped(), 1);
    }
}

#[test]
fn without_a_timer_required_events_fail_closed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(patient(MemorySink::new()).require(entered(1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_runtime_that_ends_loses_no_count_and_the_next_one_works() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sink = MemorySink::new();
    let auditor = patient(sink.clone());
    let first = runtime();
    first.block_on(async { auditor.note(entered(1)) });
    drop(first);
    assert_eq!((sink.len() as u64) + auditor.dropped(), 1);

    let (kept, dropped) = (sink.len(), auditor.dropped());
    runtime().block_on(async {
        auditor.note(entered(1));
        auditor.flush().await.unwrap();
    });
    assert_eq!((sink.len(), auditor.dropped()), (kept + 1, dropped));
}

#[test]
fn the_memory_sink_keeps_apart_and_keeps_room() {
    let sink = MemorySink::with_capacity(2);
    let keep = |event: AuditEvent| sink.record(&event).now_or_never().unwrap().unwrap();
    keep(entered(1).by(&"ours"));
    for _ in 0..10 {
        keep(entered(2).by(&"theirs"));
        let mut refusal = entered(2).by(&"stranger");
        refusal.kind = AuditKind::ScopeDenied;
        keep(refusal);
    }
    let ours = sink.of(&organization(1));
    assert_eq!(ours, [entered(1).by(&"ours")]);
    let theirs: Vec<_> =
        sink.of(&organization(2)).into_iter().map(|event| event.principal.unwrap()).collect();
    assert_eq!(theirs, ["theirs", "stranger", "theirs", "stranger"]);
    assert_eq!(sink.all().len(), 5);
}

#[test]
fn strangers_cannot_fill_the_memory_with_refusals() {
    let sink = MemorySink::with_capacity(8);
    for number in 1..1_000 {
        let mut refusal = entered(number);
        refusal.kind = AuditKind::ScopeDenied;
        sink.record(&refusal).now_or_never().unwrap().unwrap();
    }
    assert_eq!(sink.len(), 8);
    assert_eq!(sink.with(|rooms| rooms.rooms.len()), 1);
}

#[test]
fn events_serialize_flat_with_the_reason_beside_the_kind() {
    let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH);
    let auditor = Auditor::new(Arc::new(MemorySink::new()), Arc::new(clock));
    let event = auditor
        .event(AuditKind::CrossTenant { reason: "invoices" })
        .about(&organization(7))
        .by(&"job:billing")
        .on("select orders");
    assert_eq!(
        serde_json::to_value(&event).unwrap(),
        serde_json::json!({
            "at": "1970-01-01T00:00:00Z",
            "kind": "cross_tenant",
            "reason": "invoices",
            "organization": "7",
            "principal": "job:billing",
            "statement": "select orders",
            "detail": null,
        })
    );
}

#[test]
fn the_tracing_sink_takes_every_kind() {
    for kind in [
        AuditKind::Incident,
        AuditKind::CrossTenant { reason: "r" },
        AuditKind::ScopeDenied,
        AuditKind::ScopeEntered,
    ] {
        let mut event = entered(1).because("why");
        event.kind = kind;
        TracingSink.record(&event).now_or_never().unwrap().unwrap();
    }
}
