//! What the store does not do, or does not have: each fault has its kind, and none half-happens.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use tenantry::database::doctor::inspect;
use tenantry::table::{Dialect, Schema};
use tenantry::{Database, ErrorKind};

use super::fixture::*;
use super::sheet::{self, Entry, Label, labels};

#[tokio::test]
async fn a_url_that_names_no_database_is_unconfigured() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.db");
    for url in [
        String::new(),
        "world.db".into(),
        #[cfg(not(feature = "postgres"))]
        "postgres://localhost/x".into(),
        "mysql://localhost/x".into(),
        "sqlite".into(),
        format!("sqlite://{}/no/such/dir/x.db", dir.path().display()),
        format!("sqlite://{}", dir.path().display()),
        format!("sqlite://{}?mode=ro", missing.display()),
        format!("sqlite://{}?mode=rw", missing.display()),
        format!("sqlite://{}?mode=banana", missing.display()),
        format!("sqlite://{}?nonsense=1", missing.display()),
    ] {
        let error = Database::connect(&url, schema()).await.expect_err(&url);
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{url}: {error:?}");
        assert!(!missing.exists(), "{url} made a file");
    }
}

#[tokio::test]
async fn a_read_only_database_is_read_and_refuses_writes() {
    let w = world().await;
    w.db.close().await;
    drop(w.db);
    let read_only = format!("{}?mode=ro", url(&w.path));
    let db = builder(&w.issuer).connect(&read_only, schema()).await.unwrap();
    assert_eq!(Order::select(&w.a).count(&db).await.unwrap(), 3);
    for outcome in [
        Customer::insert(&w.a, customer(9, "x")).execute(&db).await.map(drop),
        Customer::insert_many(&w.a, [customer(9, "x")]).execute(&db).await.map(drop),
        Order::update(&w.a).set(orders::total, 1).all_rows().execute(&db).await.map(drop),
        Order::delete(&w.a).all_rows().execute(&db).await.map(drop),
        Genre::delete_global(&authority()).all_rows().execute(&db).await.map(drop),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{error:?}");
        assert!(!error.is_retryable());
    }
    assert_eq!(Order::select(&w.a).count(&db).await.unwrap(), 3);
}

/// Another shape fools no predicate, so that the database is opened; the doctor names it, and the
/// statements that meet it fail and write nothing.
#[tokio::test]
async fn a_table_of_another_shape_is_found_and_its_statements_fail() {
    let organization = "organization_id BLOB NOT NULL CHECK (length(organization_id) = 16 AND organization_id <> zeroblob(16))";
    let x = "'x'";
    let mut complaints = Vec::new();
    for (columns, code, row, on_read, on_write) in [
        (
            "name TEXT NOT NULL",
            "column-absent",
            x.to_owned(),
            ErrorKind::Unconfigured,
            ErrorKind::Unconfigured,
        ),
        (
            "name TEXT NOT NULL, value TEXT NOT NULL",
            "column-storage",
            format!("{x}, 's3cr3t'"),
            ErrorKind::Corrupt,
            ErrorKind::Corrupt,
        ),
        (
            "name TEXT NOT NULL, value INTEGER",
            "column-nullability",
            format!("{x}, NULL"),
            ErrorKind::Corrupt,
            ErrorKind::Corrupt,
        ),
        (
            "name TEXT NOT NULL, value INTEGER NOT NULL, extra INTEGER NOT NULL",
            "column-required",
            format!("{x}, 5, 5"),
            ErrorKind::Invalid,
            ErrorKind::Invalid,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shape.db");
        let sql = format!(
            "CREATE TABLE labels ({organization}, {columns}, PRIMARY KEY (organization_id, name)) STRICT, WITHOUT ROWID; \
             INSERT INTO labels VALUES (x'0000000000000000000000000000000a', {row})"
        );
        run_raw(&path, &sql).await.unwrap();
        let (_, issuer) = people();
        let db = builder(&issuer).connect(&url(&path), sheet::tables()).await.unwrap();
        let report = db.doctor().await.unwrap().to_string();
        assert!(report.contains(code), "{columns}: {report}");
        let a = issuer.enter(&ann(), organization_a()).await.unwrap();
        let read = Label::find(&a, "x".into()).fetch_one(&db).await;
        if on_read == ErrorKind::Invalid {
            assert_eq!(read.unwrap().value, 5);
        } else {
            let error = read.unwrap_err();
            assert_eq!(
                (error.kind(), error.table()),
                (on_read, Some("labels")),
                "{columns}: {error:?}"
            );
            assert!(!confess(&error).contains("s3cr3t"));
        }
        // A text column takes the number as text, and the row is then no row of the declaration.
        let insert = Label::insert(&a, Label { name: "y".into(), value: 1 })
            .returning()
            .fetch_one(&db)
            .await;
        match insert {
            Ok(stored) => assert_eq!((code, stored.value), ("column-nullability", 1)),
            Err(error) => {
                if (error.kind(), error.table()) != (on_write, Some("labels")) {
                    complaints
                        .push(format!("insert into `{columns}` is not {on_write}: {error:?}"));
                }
                if ask::<i64>(&path, "SELECT count(*) FROM labels").await != [1] {
                    complaints.push(format!("insert into `{columns}` said {error:?} and was kept"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn organization_a() -> tenantry::OrganizationId {
    organization(0xA)
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("garbage.db");
    let garbage: Vec<u8> = (0..20_000u32).map(|n| (n * 31 % 251) as u8).collect();
    std::fs::write(&path, &garbage).unwrap();
    let (_, issuer) = people();
    let error = builder(&issuer).connect(&url(&path), schema()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage, "the file was changed");
}

/// Pages overwritten in the middle: errors, and never a row of B's.
#[tokio::test]
async fn a_damaged_file_gives_errors_and_never_rows_of_others() {
    let w = world().await;
    let more = (100..2_000).map(|id| order(id, 1, &format!("{id}@z"), 1));
    Order::insert_many(&w.a, more).execute(&w.db).await.unwrap();
    let theirs = (100..2_000).map(|id| Order {
        note: Some(TAINT.into()),
        ..order(id, 1, &format!("{id}@z"), 7_000_000)
    });
    Order::insert_many(&w.b, theirs).execute(&w.db).await.unwrap();
    w.db.close().await;
    drop(w.db);
    run_raw(&w.path, "PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let sound = std::fs::read(&*w.path).unwrap();
    let pages = sound.len() / 4_096;
    let mut kinds = Vec::new();
    for page in (1..pages).step_by(7) {
        let mut damaged = sound.clone();
        for (n, byte) in damaged[page * 4_096..][..4_096].iter_mut().enumerate() {
            *byte = if page % 2 == 0 { (n * 37 % 253) as u8 } else { 0xFF };
        }
        let path = w.path.with_file_name("damaged.db");
        let _ = std::fs::remove_file(w.path.with_file_name("damaged.db-wal"));
        let _ = std::fs::remove_file(w.path.with_file_name("damaged.db-shm"));
        std::fs::write(&path, &damaged).unwrap();
        let db = match builder(&w.issuer).connect(&url(&path), schema()).await {
            Ok(db) => db,
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unconfigured),
                    "{error:?}"
                );
                continue;
            }
        };
        for outcome in [
            Order::select(&w.a).fetch_all(&db).await.map(|rows| format!("{rows:?}")),
            Order::select(&w.a)
                .filter(orders::placed_at.gt(placed(50)))
                .fetch_all(&db)
                .await
                .map(|rows| format!("{rows:?}")),
            Order::select(&w.a)
                .join(orders::customer_id)
                .fetch_all(&db)
                .await
                .map(|rows| format!("{rows:?}")),
            Order::select(&w.a)
                .order_by(orders::email.asc())
                .fetch(&db)
                .try_collect::<Vec<_>>()
                .await
                .map(|rows| format!("{rows:?}")),
        ] {
            match outcome {
                Ok(rows) => {
                    assert!(!rows.contains(TAINT) && !rows.contains("7000000"), "page {page}")
                }
                Err(error) => {
                    kinds.push(error.kind());
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "page {page}: {error:?}");
                    assert!(!confess(&error).contains(TAINT));
                }
            }
        }
        db.close().await;
    }
    assert!(kinds.contains(&ErrorKind::Corrupt), "no damage was ever met");
}

/// Another process holds the write lock: writes are `Unavailable` after the busy timeout, may be
/// tried again, and reads go on.
#[tokio::test]
async fn a_database_that_another_process_locks_is_unavailable_for_writes_alone() {
    let w = world_with(|builder| builder.busy_timeout(Duration::from_millis(60))).await;
    let mut other = raw(&w.path).await;
    sqlx::raw_sql("BEGIN IMMEDIATE; UPDATE genres SET name = name")
        .execute(&mut other)
        .await
        .unwrap();
    let started = Instant::now();
    for outcome in [
        Customer::insert(&w.a, customer(9, "x")).execute(&w.db).await.map(drop),
        Customer::insert_many(&w.a, [customer(9, "x")]).execute(&w.db).await.map(drop),
        Order::update(&w.a).set(orders::total, 1).all_rows().execute(&w.db).await.map(drop),
        Order::delete(&w.a).all_rows().returning().fetch_all(&w.db).await.map(drop),
        w.db.begin(&w.a).await.map(drop),
        w.db.transaction(&w.a, async |tx| Order::delete(&w.a).all_rows().execute(tx).await)
            .await
            .map(drop),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.is_retryable(), "{error:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(Order::select(&w.a).count(&w.db).await.unwrap(), 3);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(Customer::insert(&w.a, customer(9, "x")).execute(&w.db).await.unwrap(), 1);

    // An exclusive lock outside WAL stops the opening itself.
    let path = w.path.with_file_name("locked.db");
    run_raw(&path, "PRAGMA journal_mode=DELETE; CREATE TABLE t (x)").await.unwrap();
    let mut other = raw(&path).await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let opening = builder(&w.issuer)
        .busy_timeout(Duration::from_millis(60))
        .connect(&url(&path), schema())
        .await
        .unwrap_err();
    assert_eq!(opening.kind(), ErrorKind::Unavailable, "{opening:?}");
    assert!(opening.is_retryable());
}

#[tokio::test]
async fn connections_that_are_all_in_use_are_unavailable_and_come_back() {
    let w = world_with(|builder| {
        builder.read_connections(1).acquire_timeout(Duration::from_millis(60))
    })
    .await;
    let more = (100..1_000).map(|id| order(id, 1, &format!("{id}@z"), 1));
    Order::insert_many(&w.a, more).execute(&w.db).await.unwrap();
    let mut held = Order::select(&w.a).fetch(&w.db);
    assert!(held.next().await.unwrap().is_ok());
    let error = Order::select(&w.b).count(&w.db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable());
    drop(held);
    assert_eq!(Order::select(&w.b).count(&w.db).await.unwrap(), 7);

    let tx = w.db.begin(&w.a).await.unwrap();
    let error = Customer::insert(&w.a, customer(9, "x")).execute(&w.db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("this task holds a Transaction"), "{error}");
    assert_eq!(w.db.begin(&w.b).await.unwrap_err().kind(), ErrorKind::Unavailable);
    drop(tx);
    assert_eq!(Customer::insert(&w.a, customer(9, "x")).execute(&w.db).await.unwrap(), 1);
}

/// Stored forms that the declaration does not know: `Corrupt`, with table and column, without the
/// value.
#[tokio::test]
async fn stored_values_of_another_form_are_corrupt_and_named_and_not_shown() {
    let s = sheet::sheet().await;
    let a = "x'0000000000000000000000000000000a'";
    let b = "x'0000000000000000000000000000000b'";
    for (column, value) in [
        ("flag", "77"),
        ("small", "7777777"),
        ("middle", "77777777777"),
        ("uuid", "x'7777'"),
        ("at", "9223372036854775777"),
        ("at", "-9223372036854775777"),
        ("day", "2147483600"),
        ("data", "'{s3cr3t'"),
        ("status", "'s3cr3t'"),
        ("status", "'OPEN'"),
    ] {
        run_raw(
            &s.path,
            &format!(
                "PRAGMA ignore_check_constraints=ON; DELETE FROM sheet; \
                 INSERT INTO sheet (organization_id, id, \"{column}\") VALUES ({a}, 1, {value}), ({b}, 1, {value}); \
                 INSERT INTO sheet (organization_id, id) VALUES ({a}, 2)"
            ),
        )
        .await
        .unwrap();
        let outcomes = [
            Entry::find(&s.a, 1).fetch_one(&s.db).await.map(drop),
            Entry::select(&s.a).fetch_all(&s.db).await.map(drop),
            Entry::select(&s.a).fetch_optional(&s.db).await.map(drop),
            Entry::select(&s.a).fetch(&s.db).try_collect::<Vec<_>>().await.map(drop),
            Entry::select(&s.a).page(None, 5).fetch(&s.db).await.map(drop),
            Entry::update(&s.a)
                .set(super::sheet::sheet::large, 1)
                .key(1)
                .returning()
                .fetch_all(&s.db)
                .await
                .map(drop),
        ];
        for outcome in outcomes {
            let error = outcome.expect_err(column);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{column}: {error:?}");
            assert_eq!((error.table(), error.column()), (Some("sheet"), Some(column)));
            assert!(
                !confess(&error).contains("s3cr3t") && !confess(&error).contains("777"),
                "{error:?}"
            );
        }
        assert!(Entry::find(&s.a, 2).fetch_one(&s.db).await.is_ok());
    }
    // A decimal is any integer; text that is not UTF-8 is refused by SQLite's own reading.
    run_raw(&s.path, &format!("DELETE FROM sheet; INSERT INTO sheet (organization_id, id, text) VALUES ({a}, 1, CAST(x'ff80' AS TEXT))"))
        .await
        .unwrap();
    let error = Entry::find(&s.a, 1).fetch_one(&s.db).await.unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Corrupt, Some("text")), "{error:?}");
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_unavailable_and_fails_its_transaction() {
    let w = world_with(|builder| builder.statement_timeout(Some(Duration::from_millis(1)))).await;
    let many = (100..3_000).map(|id| line(10, id, 1));
    Line::insert_many(&w.a, many).execute(&w.db).await.unwrap();
    let crossed =
        || Line::select(&w.a).join(order_lines::order_id).order_by(order_lines::sku.desc());
    let error = crossed().fetch_all(&w.db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable());
    let mut tx = w.db.begin(&w.a).await.unwrap();
    assert!(crossed().fetch_all(&mut tx).await.is_err());
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn databases_in_memory_share_nothing() {
    let (_, issuer) = people();
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let mut opened = Vec::new();
    for url in ["sqlite::memory:", "sqlite::memory:", "sqlite://:memory:"] {
        let db = builder(&issuer).connect(url, sheet::tables()).await.unwrap();
        db.create_tables().await.unwrap();
        assert_eq!(Label::select(&a).count(&db).await.unwrap(), 0);
        Label::insert(&a, Label { name: "n".into(), value: 1 }).execute(&db).await.unwrap();
        assert_eq!(Label::select(&a).filter(labels::value.eq(1)).count(&db).await.unwrap(), 1);
        opened.push(db);
    }
}

const FULL: &str = "TENANTRY_TEST_FULL";

/// The process whose files may not grow: does nothing unless it is started as such.
#[tokio::test]
async fn a_process_without_space() {
    let Ok(path) = std::env::var(FULL) else { return };
    let path = Path::new(&path);
    let (_, issuer) = people();
    let db = builder(&issuer).connect(&url(path), sheet::tables()).await.unwrap();
    let a = issuer.enter(&ann(), organization(0xA)).await.unwrap();
    let before = Label::select(&a).count(&db).await.unwrap();
    let label = |n: i64| Label { name: format!("{n:08}-{}", "x".repeat(500)), value: n };
    // A batch that does not fit goes in not at all.
    let error = Label::insert_many(&a, (0..20_000).map(label)).execute(&db).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(Label::select(&a).count(&db).await.unwrap(), before);
    // Single rows until none fits: each that was acknowledged is there.
    let mut stored = 0;
    let error = loop {
        match Label::insert(&a, label(stored)).execute(&db).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 20_000, "the disk never filled");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!confess(&error).contains("xxx"));
    assert_eq!(Label::select(&a).count(&db).await.unwrap(), before + stored);
    // A transaction that does not fit is not committed, and says so.
    let outcome = db
        .transaction(&a, async |tx| {
            for n in 50_000..51_000 {
                Label::insert(&a, label(n)).execute(&mut *tx).await?;
            }
            Ok(())
        })
        .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(Label::select(&a).count(&db).await.unwrap(), before + stored);
    println!("stored {}", before + stored);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_what_was_acknowledged_is_kept() {
    let s = sheet::sheet().await;
    Label::insert(&s.a, Label { name: "first".into(), value: 1 }).execute(&s.db).await.unwrap();
    s.db.close().await;
    drop(s.db);
    let inner = again(module_path!(), "a_process_without_space");
    let arguments: Vec<_> = inner.get_args().map(|argument| argument.to_str().unwrap()).collect();
    // 2,000 blocks of 512 bytes; a write beyond them fails instead of ending the process.
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\"",
            inner.get_program().to_str().unwrap(),
        ])
        .args(arguments)
        .env(FULL, &*s.path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let stored: i64 =
        said.lines().find_map(|line| line.split_once("stored ")).unwrap().1.trim().parse().unwrap();
    assert!(stored > 10, "{stored}");
    assert_eq!(sheet::count(&s.path, "labels").await, stored);
    sound(&s.path).await;
}

tenantry::tenant_table! {
    #[derive(Debug)]
    pub struct Short in a { key id: i64, b_c: i64, }
    index (b_c);
}

tenantry::tenant_table! {
    #[derive(Debug)]
    pub struct Long in a_b { key id: i64, c: i64, }
    index (c);
}

/// An index over `b_c` of `a` and one over `c` of `a_b` came to the same name, and the second
/// statement passed over the first's. No rows: the shape alone is looked at.
#[tokio::test]
async fn indexes_that_come_to_one_name_both_exist() {
    use sqlx::{Connection as _, Executor as _};
    let folder = tempfile::tempdir().unwrap();
    let both = || Schema::new().tenant::<Short>().tenant::<Long>();
    let url = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let fresh = Database::connect(&url("fresh.db"), both()).await.unwrap();
    fresh.create_tables().await.unwrap();
    let report = fresh.doctor().await.unwrap();
    assert!(report.findings().is_empty(), "{report}");

    // A database from before keeps its index, and is told of the one that it lacks.
    let old = url("old.db");
    let db = Database::connect(&old, Schema::new().tenant::<Short>()).await.unwrap();
    db.create_tables().await.unwrap();
    db.close().await;
    drop(db);
    let mut raw = sqlx::SqliteConnection::connect(&old).await.unwrap();
    let long = Schema::new().tenant::<Long>().ddl(Dialect::Sqlite).unwrap();
    raw.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(long[0].clone()))).await.unwrap();
    let report = inspect(&old, &both(), &[]).await.unwrap();
    let [finding] = report.findings() else { panic!("{report}") };
    assert_eq!((finding.code(), finding.object()), ("index-absent", "a_b/organization_id,c"));
    for statement in finding.remedy() {
        raw.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))).await.unwrap();
    }
    assert!(inspect(&old, &both(), &[]).await.unwrap().findings().is_empty());
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'a'",
    )
    .fetch_all(&mut raw)
    .await
    .unwrap();
    assert_eq!(names, ["a_b_c_idx"]);
}
