//! Who gets in, and for how long: L12, L41, L44, L45, L47, L53, L60, L63, L78.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tenantry::ambient::cross_tenant_authority;
use tenantry::audit::{AuditKind, MemorySink};
use tenantry::clock::ManualClock;
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::{Database, Error, ErrorKind};
use tokio::sync::Barrier;

use super::fixture::*;

/// The second wall's shadow views read the organization from the connection; the next borrower of
/// the only one must see its own, also after a stream that was left half-read.
#[tokio::test]
async fn l12_a_pooled_connection_keeps_no_organization() {
    use futures_util::StreamExt as _;
    let w = world_with(|builder| one_connection(builder).paranoid(true)).await;
    for _ in 0..20 {
        assert_eq!(Order::select(&w.a).count(&w.db).await.unwrap(), 3);
        assert_eq!(Order::select(&w.b).count(&w.db).await.unwrap(), 7);
        let mut half = Order::select(&w.b).fetch(&w.db);
        assert!(half.next().await.unwrap().is_ok());
        drop(half);
        let rows = Order::select(&w.a).fetch_all(&w.db).await.unwrap();
        assert!(rows.iter().all(|row| row.total < 1_000), "{rows:?}");
        assert_eq!(Order::select_across(&authority()).fetch_all(&w.db).await.unwrap().len(), 10);
        assert!(Order::find(&w.a, 13).fetch_optional(&w.db).await.unwrap().is_none());
    }
}

/// A secret is looked up inside one organization; over all of them only with authority, and then
/// each row says whose it is.
#[tokio::test]
async fn l41_a_token_is_found_in_its_own_organization_alone() {
    let w = world().await;
    let token = format!("{TAINT}-token-4");
    let by_token = || customers::token.eq(token.as_str());
    assert!(
        Customer::select(&w.a).filter(by_token()).fetch_optional(&w.db).await.unwrap().is_none()
    );
    assert_eq!(Customer::select(&w.b).filter(by_token()).fetch_one(&w.db).await.unwrap().id, 4);
    let across =
        Customer::select_across(&authority()).filter(by_token()).fetch_all(&w.db).await.unwrap();
    let [(organization, found)] = &across[..] else { panic!("{across:?}") };
    assert_eq!((organization, found.id), (w.b.organization(), 4));
}

/// Each use of authority is allowed by the builder and written down first; without either,
/// nothing crosses.
#[tokio::test]
async fn l44_what_crosses_needs_its_own_value_its_own_setting_and_a_record() {
    #[derive(Debug)]
    struct Full;
    #[async_trait::async_trait]
    impl tenantry::audit::AuditSink for Full {
        async fn record(&self, _: &tenantry::audit::AuditEvent) -> tenantry::Result<()> {
            Err(Error::outage("the audit store is full", "no space"))
        }
    }
    let w = world().await;
    let shut = Database::builder().issuer(&w.issuer);
    let closed = connect(shut, &url(&w.path), schema()).await.unwrap();
    let refused = Order::select_across(&authority()).fetch_all(&closed).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unconfigured);
    let refused = Genre::delete_global(&authority()).all_rows().execute(&closed).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unconfigured);

    let full = builder(&w.issuer).audit(Full);
    let unrecorded = connect(full, &url(&w.path), schema()).await.unwrap();
    let refused = Order::select_across(&authority()).fetch_all(&unrecorded).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let genre = Genre { id: 9, name: "folk".into() };
    let refused = Genre::insert_global(&authority(), genre).execute(&unrecorded).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(Genre::select(&w.a).count(&w.db).await.unwrap(), 2);

    let silent = cross_tenant_authority("  ", Principal::job("test"));
    let refused = Order::select_across(&silent).fetch_all(&w.db).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);

    let sink = MemorySink::new();
    let kept = builder(&w.issuer).audit(sink.clone());
    let recorded = connect(kept, &url(&w.path), schema()).await.unwrap();
    Order::select_across(&authority()).fetch_all(&recorded).await.unwrap();
    let events = sink.events_across(&authority()).await.unwrap();
    assert!(
        events.iter().any(|event| matches!(event.kind, AuditKind::CrossTenant { .. })
            && event.statement.as_deref() == Some("select orders")),
        "{events:?}"
    );
}

/// Two organizations on all threads at once: no switch of the process is between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l45_organizations_that_run_at_the_same_time_do_not_meet() {
    let w = Arc::new(world_with(|builder| readers(builder, 3).paranoid(true)).await);
    let gate = Arc::new(Barrier::new(8));
    let mut tasks = Vec::new();
    for n in 0..8i64 {
        let (w, gate) = (Arc::clone(&w), Arc::clone(&gate));
        tasks.push(tokio::spawn(async move {
            let ours = n % 2 == 0;
            let scope = if ours { &w.a } else { &w.b };
            gate.wait().await;
            for round in 0..40 {
                let rows = Order::select(scope).fetch_all(&w.db).await.unwrap();
                assert!(rows.iter().all(|row| (row.total < 5_000_000) == ours), "{rows:?}");
                let id = 1_000 + n * 100 + round;
                let mail = format!("{n}-{round}@x");
                let total = if ours { 1 } else { 7_000_000 };
                Order::insert(scope, order(id, 1, &mail, total)).execute(&w.db).await.unwrap();
                if round % 4 == 0 {
                    let inside = scope.clone();
                    let kept = w.db.transaction(scope, async move |tx| {
                        let n = Order::update(&inside)
                            .set(orders::note, None)
                            .key(id)
                            .execute(&mut *tx)
                            .await?;
                        Ok(n + Order::select(&inside).filter(orders::id.eq(id)).count(tx).await?
                            as u64)
                    });
                    assert_eq!(kept.await.unwrap(), 2);
                }
                if !ours && round % 10 == 0 {
                    assert!(
                        Order::select_across(&authority()).fetch_all(&w.db).await.unwrap().len()
                            >= 10
                    );
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(Order::select(&w.a).count(&w.db).await.unwrap(), 3 + 160);
    assert_eq!(Order::select(&w.b).count(&w.db).await.unwrap(), 7 + 160);
}

/// A handle carries its scope by value, and a finished transaction leaves nothing behind.
#[tokio::test]
async fn l47_the_next_user_of_the_writing_connection_is_itself() {
    let w = world().await;
    for round in 0..10 {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        Customer::update(&w.a)
            .set(customers::token, format!("a{round}").as_str())
            .all_rows()
            .execute(&mut tx)
            .await
            .unwrap();
        match round % 3 {
            0 => tx.commit().await.unwrap(),
            1 => tx.rollback().await.unwrap(),
            _ => drop(tx),
        }
        let touched = Customer::update(&w.b)
            .set(customers::token, "b")
            .all_rows()
            .execute(&w.db)
            .await
            .unwrap();
        assert_eq!(touched, 7);
        let mut tx = w.db.begin(&w.b).await.unwrap();
        assert_eq!(Customer::select(&w.b).count(&mut tx).await.unwrap(), 7);
        tx.commit().await.unwrap();
        let ours = Customer::select(&w.a).fetch_all(&w.db).await.unwrap();
        assert!(ours.iter().all(|row| row.token.as_deref() != Some("b")), "{ours:?}");
    }
}

#[tokio::test]
async fn l53_what_is_foreign_is_told_like_what_is_missing() {
    in_two_worlds(async |w| {
        let mut tx = w.db.begin(&w.a).await.unwrap();
        let mut told = vec![
            seen(Order::find(&w.a, 13).fetch_one(&mut tx).await),
            seen(Order::update(&w.a).set(orders::customer_id, 6).key(10).execute(&mut tx).await),
        ];
        tx.rollback().await.unwrap();
        told.push(seen(w.issuer.enter(&ann(), organization(0xC)).await.map(drop)));
        told.push(seen(Customer::insert(&w.a, customer(1, "Ann")).execute(&w.db).await));
        told.push(seen(Customer::delete(&w.a).key(1).execute(&w.db).await));
        told
    })
    .await;
}

#[tokio::test]
async fn l60_an_organization_named_by_the_client_opens_only_with_a_membership() {
    let (directory, issuer) = people();
    directory.add_organization(&organization(0xC));
    directory.set_active(&organization(0xD), false);
    directory.add_member(&organization(0xD), &ann(), Role::Owner);
    let bob = Principal::user("bob");
    let mut told = HashSet::new();
    for (principal, number) in [
        (ann(), 0xC),
        (ann(), 0xD),
        (ann(), 0xE),
        (bob.clone(), 0xA),
        (Principal::service("ann"), 0xA),
        (Principal::user("Ann"), 0xA),
    ] {
        told.insert(confess(&issuer.enter(&principal, organization(number)).await.unwrap_err()));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told.iter().all(|text| text.starts_with("Denied")));
    assert_eq!(
        issuer.enter(&Principal::user(""), organization(0xA)).await.unwrap_err().kind(),
        ErrorKind::Unauthenticated
    );
    for unfit in ["a\nb", &"x".repeat(257)] {
        let refused = issuer.enter(&Principal::user(unfit), organization(0xA)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
    // A scope of another issuer, whose Directory says yes to everything, opens nothing here.
    let w = world().await;
    let liar = MemoryDirectory::new();
    liar.add_member(&organization(0xB), &bob, Role::Owner);
    let forged = ScopeIssuer::new(liar).enter(&bob, organization(0xB)).await.unwrap();
    let refused = Order::select(&forged).fetch_all(&w.db).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    assert_eq!(w.db.begin(&forged).await.unwrap_err().kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn l63_shared_rows_are_a_type_of_their_own_and_no_row_belongs_to_nobody() {
    let w = world().await;
    for scope in [&w.a, &w.b] {
        assert_eq!(Genre::select(scope).count(&w.db).await.unwrap(), 2);
        assert_eq!(Genre::find(scope, 1).fetch_one(&w.db).await.unwrap().name, "rock");
    }
    let n = Genre::update_global(&authority())
        .set(genres::name, "pop")
        .key(1)
        .execute(&w.db)
        .await
        .unwrap();
    assert_eq!(n, 1);
    assert_eq!(Genre::find(&w.b, 1).fetch_one(&w.db).await.unwrap().name, "pop");
    for nobody in NOBODIES {
        let sql = format!("INSERT INTO customers VALUES ({nobody}, 500, 'Nobody', NULL)");
        assert!(run_raw(&w.path, &sql).await.is_err(), "{nobody}");
    }
    assert!(
        Customer::select(&w.a)
            .filter(customers::name.eq("Nobody"))
            .fetch_optional(&w.db)
            .await
            .unwrap()
            .is_none()
    );
}

/// A scope outlives neither a suspension nor its age, wherever it is used.
#[tokio::test]
async fn l78_a_scope_ends_with_a_suspension_and_with_its_age() {
    let clock = ManualClock::new(tenantry::now());
    let (directory, _) = people();
    let issuer = ScopeIssuer::builder(directory.clone())
        .clock(clock.clone())
        .max_scope_age(Duration::from_secs(60))
        .build();
    let (db, _place) = open(&issuer, schema(), |builder| builder).await;
    let ann = ann();
    let enter = || issuer.enter(&ann, organization(0xA));
    let by_age = enter().await.unwrap();
    clock.advance(Duration::from_secs(30));
    directory.remove_member(&organization(0xA), &ann);
    assert!(Order::select(&by_age).count(&db).await.is_ok(), "a scope lives on for its age");
    assert!(enter().await.is_err());
    directory.add_member(&organization(0xA), &ann, Role::Member);
    let by_suspension = enter().await.unwrap();
    clock.advance(Duration::from_secs(30));
    issuer.suspend(organization(0xA));
    issuer.resume(organization(0xA));
    let fresh = enter().await.unwrap();
    let mut tx = db.begin(&fresh).await.unwrap();
    Customer::insert(&fresh, customer(1, "Ann")).execute(&mut tx).await.unwrap();
    issuer.halt_all();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Denied);
    issuer.resume_all();
    for ended in [by_age, by_suspension, fresh] {
        for outcome in [
            Order::select(&ended).count(&db).await.map(drop),
            Order::find(&ended, 1).fetch_optional(&db).await.map(drop),
            Customer::insert(&ended, customer(2, "Bob")).execute(&db).await.map(drop),
            db.begin(&ended).await.map(drop),
            ended.require(Role::Viewer),
        ] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied);
        }
    }
    let last = enter().await.unwrap();
    assert_eq!(Customer::select(&last).count(&db).await.unwrap(), 0);
}

/// A stream asks at every row.
#[tokio::test]
async fn l78_a_stream_ends_where_its_scope_ends() {
    use futures_util::StreamExt as _;
    let w = world().await;
    let many = (100..400).map(|id| order(id, 1, &format!("{id}@z"), 1));
    Order::insert_many(&w.a, many).execute(&w.db).await.unwrap();
    let mut rows = Order::select(&w.a).fetch(&w.db);
    for _ in 0..5 {
        assert!(rows.next().await.unwrap().is_ok());
    }
    w.issuer.suspend(w.a.organization());
    assert_eq!(rows.next().await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
    assert!(rows.next().await.is_none());
}
