//! Sealed values in tables of the application's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tenantry::credential::{Credentials, KeyState, Keys, SealedValue, SqlCredentialStore};
use tenantry::crypto::{BlindIndex, KeyId, SealContext, SecretKind};
use tenantry::database::Transaction;
use tenantry::database::doctor::Finding;
use tenantry::table::{Column, Schema};
use tenantry::{Database, ErrorKind, Result, TenantScope, tenant_table};
use uuid::Uuid;

use super::world::*;
use crate::leaks::fixture::raw;

tenant_table! {
    #[derive(Debug, Clone)]
    pub(crate) struct Endpoint in endpoints {
        key id: Uuid,
        name: String,
        secret: SealedValue,
        previous: Option<SealedValue>,
    }
}

tenant_table! {
    #[derive(Debug, Clone)]
    pub(crate) struct Claim in claims {
        key id: Uuid,
        account: BlindIndex,
    }
    index (account);
}

struct App {
    w: World,
    db: Database,
    store: Arc<SqlCredentialStore>,
    credentials: Credentials,
}

/// The same id in both organizations.
const ID: Uuid = Uuid::from_u128(7);

fn place(id: Uuid, field: &'static str) -> SealContext<'static> {
    SealContext::new(SecretKind::WebhookSecret, id, "kustomer", field, 1).unwrap()
}

impl App {
    async fn new(kind: Kind) -> Self {
        let w = World::new(kind).await;
        let schema = Schema::new().tenant::<Endpoint>().tenant::<Claim>();
        let (db, store) = open_beside(&w.issuer, &w.kept.place(), schema).await;
        let builder = Credentials::builder(&w.issuer, keyring(), Arc::clone(&store));
        Self { w, db, store, credentials: builder.build() }
    }

    async fn seal(&self, scope: &TenantScope, id: Uuid, text: &str) -> SealedValue {
        let epoch = self.store.epoch(scope).await.unwrap();
        let (keys, place) = (self.credentials.keys(), place(id, "secret"));
        keys.seal_since(scope, &place, text.as_bytes(), epoch).await.unwrap().into()
    }

    async fn add(&self, scope: &TenantScope, id: Uuid, text: &str) -> Result<()> {
        let secret = self.seal(scope, id, text).await;
        let row = Endpoint { id, name: "shop".to_owned(), secret, previous: None };
        let mut tx = self.store.begin(scope).await?;
        Endpoint::insert(scope, row).execute(&mut tx).await?;
        tx.commit().await
    }

    async fn read(&self, scope: &TenantScope, id: Uuid) -> Result<String> {
        let epoch = self.store.epoch(scope).await?;
        let row = Endpoint::find(scope, id).fetch_one(&self.db).await?;
        let (keys, place) = (self.credentials.keys(), place(id, "secret"));
        let text = keys.open(scope, &place, row.secret.as_bytes(), epoch).await?;
        Ok(String::from_utf8(text.expose_secret().to_vec()).unwrap())
    }

    /// Of each column and key, how many values there are.
    async fn uses(&self, scope: &TenantScope) -> BTreeSet<(String, Option<String>, u64)> {
        let status = self.credentials.rotation_status(scope).await.unwrap();
        let each = status.uses.into_iter();
        each.map(|each| (each.column.into(), each.key.map(|key| key.to_string()), each.count))
            .collect()
    }

    async fn active(&self, scope: &TenantScope) -> KeyId {
        let keys = self.credentials.rotation_status(scope).await.unwrap().keys;
        keys.iter().find(|(_, state)| *state == KeyState::Active).unwrap().0
    }
}

fn used(column: &str, key: Option<KeyId>, count: u64) -> (String, Option<String>, u64) {
    (column.to_owned(), key.map(|key| key.to_string()), count)
}

#[tokio::test]
async fn c26_no_key_is_retired_while_a_column_of_the_application_has_a_value_under_it() {
    for &kind in SQL {
        let app = App::new(kind).await;
        let (a, b) = (&app.w.a, &app.w.b);
        for scope in [a, b] {
            app.add(scope, ID, "kept").await.unwrap();
        }
        let previous = app.seal(a, ID, "before").await;
        let mut tx = app.store.begin(a).await.unwrap();
        let set = Endpoint::update(a).set(endpoints::previous, previous).key(ID);
        set.execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();

        let old = app.active(a).await;
        let new = app.credentials.rotate(a).await.unwrap();
        let [previous, secret] = ["endpoints.previous", "endpoints.secret"];
        let both = [used(previous, Some(old), 1), used(secret, Some(old), 1)];
        assert_eq!(app.uses(a).await, both.into());
        let theirs = used(secret, Some(app.active(b).await), 1);
        assert_eq!(app.uses(b).await, [theirs.clone()].into());
        refused(app.credentials.retire(a, old).await, ErrorKind::Conflict);
        assert_eq!(app.read(a, ID).await.unwrap(), "kept");

        // The value in the other column keeps the key as well.
        let next = app.seal(a, ID, "next").await;
        let mut tx = app.store.begin(a).await.unwrap();
        let set = Endpoint::update(a).set(endpoints::secret, next).key(ID);
        set.execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let both = [used(previous, Some(old), 1), used(secret, Some(new), 1)];
        assert_eq!(app.uses(a).await, both.into());
        refused(app.credentials.retire(a, old).await, ErrorKind::Conflict);

        let clear = Endpoint::update(a).set(endpoints::previous, None).key(ID);
        clear.execute(&app.db).await.unwrap();
        app.credentials.retire(a, old).await.unwrap();
        assert_eq!(app.read(a, ID).await.unwrap(), "next");
        assert_eq!(app.read(b, ID).await.unwrap(), "kept");
        assert_eq!(app.uses(b).await, [theirs].into());
    }
}

#[tokio::test]
async fn c26_a_sealed_value_is_written_only_where_its_key_is_held() {
    for &kind in SQL {
        let app = App::new(kind).await;
        let (a, b, db) = (&app.w.a, &app.w.b, &app.db);
        for scope in [a, b] {
            app.add(scope, ID, "kept").await.unwrap();
        }
        let (stale, theirs) = (app.seal(a, ID, "stale").await, app.seal(b, ID, "theirs").await);
        app.credentials.rotate(a).await.unwrap();
        let good = app.seal(a, ID, "good").await;
        let row = |secret: &SealedValue, previous: Option<&SealedValue>| Endpoint {
            id: Uuid::from_u128(8),
            name: "shop".to_owned(),
            secret: secret.clone(),
            previous: previous.cloned(),
        };
        let set = Endpoint::prepare_update(|update, (secret, id)| {
            update.set(endpoints::secret, secret).filter(endpoints::id.eq(id))
        });
        let update =
            |value: &SealedValue| Endpoint::update(a).set(endpoints::secret, value.clone()).key(ID);
        let upsert = |value: &SealedValue| {
            let row = Endpoint { id: ID, ..row(value, None) };
            Endpoint::insert(a, row).on_conflict(endpoints::id).update(endpoints::secret)
        };

        // Outside, and in a transaction that holds no key.
        refused(Endpoint::insert(a, row(&good, None)).execute(db).await, ErrorKind::Misuse);
        let many = Endpoint::insert_many(a, [row(&good, None)]);
        refused(many.execute(db).await, ErrorKind::Misuse);
        refused(update(&good).execute(db).await, ErrorKind::Misuse);
        refused(update(&good).returning().fetch_all(db).await, ErrorKind::Misuse);
        refused(upsert(&good).execute(db).await, ErrorKind::Misuse);
        refused(set.execute(a, (good.clone(), ID), db).await, ErrorKind::Misuse);
        let mut plain = db.begin(a).await.unwrap();
        refused(update(&good).execute(&mut plain).await, ErrorKind::Misuse);
        plain.rollback().await.unwrap();

        // Under a key that seals no more, and under another organization's.
        for value in [&stale, &theirs] {
            let begin = || async { app.store.begin(a).await.unwrap() };
            let refused = |outcome: Result<u64>, tx: Transaction| {
                refused(outcome, ErrorKind::Conflict);
                drop(tx);
            };
            let mut tx = begin().await;
            refused(Endpoint::insert(a, row(value, None)).execute(&mut tx).await, tx);
            let mut tx = begin().await;
            refused(Endpoint::insert(a, row(&good, Some(value))).execute(&mut tx).await, tx);
            let mut tx = begin().await;
            let many = Endpoint::insert_many(a, [row(&good, None), row(value, None)]);
            refused(many.execute(&mut tx).await, tx);
            let mut tx = begin().await;
            refused(update(value).execute(&mut tx).await, tx);
            let mut tx = begin().await;
            refused(upsert(value).execute(&mut tx).await, tx);
            let mut tx = begin().await;
            refused(set.execute(a, (value.clone(), ID), &mut tx).await, tx);
        }
        assert_eq!(Endpoint::select(a).count(db).await.unwrap(), 1);
        assert_eq!(app.read(a, ID).await.unwrap(), "kept");

        // By a column constant of another type.
        let loose = Column::<Endpoint, Vec<u8>>::new(endpoints::secret.position());
        let mut tx = app.store.begin(a).await.unwrap();
        let raw = stale.as_bytes().to_vec();
        let copy = Endpoint::update(a).set(loose, raw.clone()).key(ID).execute(&mut tx).await;
        refused(copy, ErrorKind::Invalid);
        drop(tx);
        refused(
            Endpoint::update(a).set(loose, raw.clone()).key(ID).execute(db).await,
            ErrorKind::Invalid,
        );
        refused(
            Endpoint::update(a).set(loose, loose).key(ID).execute(db).await,
            ErrorKind::Invalid,
        );
        let set = Endpoint::prepare_update(|update, (secret, id)| {
            update.set(loose, secret).filter(endpoints::id.eq(id))
        });
        refused(set.execute(a, (raw, ID), db).await, ErrorKind::Invalid);

        // Copied from a column, whatever key it is under.
        let mut tx = app.store.begin(a).await.unwrap();
        let copy = Endpoint::update(a).set(endpoints::secret, endpoints::secret).key(ID);
        refused(copy.execute(&mut tx).await, ErrorKind::Invalid);
        drop(tx);

        // Compared it may be: with what was read, to replace nothing else.
        let read = Endpoint::find(a, ID).fetch_one(db).await.unwrap().secret;
        let mut tx = app.store.begin(a).await.unwrap();
        let replace = Endpoint::update(a)
            .set(endpoints::secret, good.clone())
            .filter(endpoints::id.eq(ID).and(endpoints::secret.eq(read.clone())));
        assert_eq!(replace.execute(&mut tx).await.unwrap(), 1);
        tx.rollback().await.unwrap();
        let replace = Endpoint::prepare_update(|update, (next, id, read)| {
            let as_read = endpoints::id.eq(id).and(endpoints::secret.eq(read));
            update.set(endpoints::secret, next).filter(as_read)
        });
        let mut tx = app.store.begin(a).await.unwrap();
        assert_eq!(replace.execute(a, (good, ID, read), &mut tx).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(app.read(a, ID).await.unwrap(), "good");
        assert_eq!(app.read(b, ID).await.unwrap(), "kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c26_writers_and_retirements_at_once_lose_no_value() {
    const WRITERS: u128 = 3;
    const EACH: u128 = 12;
    for &kind in SQL {
        let app = Arc::new(App::new(kind).await);
        app.add(&app.w.a, ID, "first").await.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 1..=WRITERS {
            let app = Arc::clone(&app);
            writers.spawn(async move {
                for n in 0..EACH {
                    let id = Uuid::from_u128(writer << 64 | n);
                    // A rotation came between: sealed again.
                    while let Err(error) = app.add(&app.w.a, id, &n.to_string()).await {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    }
                }
            });
        }
        let rotations = async {
            while !writers.is_empty() {
                let old = app.active(&app.w.a).await;
                app.credentials.rotate(&app.w.a).await.unwrap();
                match app.credentials.retire(&app.w.a, old).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    retired => retired.unwrap(),
                }
                while let Some(written) = writers.try_join_next() {
                    written.unwrap();
                }
            }
        };
        rotations.await;
        for writer in 1..=WRITERS {
            for n in 0..EACH {
                let id = Uuid::from_u128(writer << 64 | n);
                assert_eq!(app.read(&app.w.a, id).await.unwrap(), n.to_string());
            }
        }
        assert_eq!(app.read(&app.w.a, ID).await.unwrap(), "first");
    }
}

#[tokio::test]
async fn what_no_key_of_the_organization_sealed_is_counted_apart() {
    for &kind in SQL {
        let app = App::new(kind).await;
        let (a, b) = (&app.w.a, &app.w.b);
        for n in 1..=5 {
            app.add(a, Uuid::from_u128(n), "token").await.unwrap();
        }
        let theirs = app.seal(b, ID, "theirs").await;
        let plant = async |n: u128, bytes: &[u8]| {
            let (bytes, id) = (app.w.kept.bytes(bytes), app.w.kept.id(Uuid::from_u128(n)));
            app.w.kept.run(&format!("UPDATE endpoints SET secret = {bytes} WHERE id = {id}")).await;
        };
        plant(2, theirs.as_bytes()).await;
        plant(3, b"in clear").await;
        plant(4, &[]).await;
        // Padded, its header is another.
        let keys = Keys::builder(&app.w.issuer, keyring(), Arc::clone(&app.store)).padding(true);
        let padded = keys.build().seal(a, &place(Uuid::from_u128(1), "secret"), b"token").await;
        plant(1, padded.unwrap().as_bytes()).await;
        let own = app.active(a).await;
        let expected = [used("endpoints.secret", None, 3), used("endpoints.secret", Some(own), 2)];
        assert_eq!(app.uses(a).await, expected.into());
        for n in 2..=4 {
            refused(app.read(a, Uuid::from_u128(n)).await, ErrorKind::Corrupt);
        }
        assert_eq!(app.read(a, Uuid::from_u128(5)).await.unwrap(), "token");
        refused(SealedValue::from_bytes(b"in clear".to_vec()), ErrorKind::Invalid);
        assert_eq!(SealedValue::from_bytes(theirs.as_bytes().to_vec()).unwrap(), theirs);

        let report = app.db.doctor().await.unwrap();
        let seals = report.findings().iter().filter(|each| each.code().contains("sealed"));
        assert_eq!(seals.count(), 0, "{report}");
    }
}

/// An older release, or a tool: it has the store's tables, and not all of the application's.
#[tokio::test]
async fn c26_a_process_that_does_not_know_a_column_retires_nothing() {
    for &kind in SQL {
        let app = App::new(kind).await;
        let (a, b) = (&app.w.a, &app.w.b);
        app.w.put(b, "token").await;
        app.add(a, ID, "kept").await.unwrap();
        let old = app.active(a).await;
        app.credentials.rotate(a).await.unwrap();
        let tool = app.w.elsewhere();
        refused(tool.rotation_status(a).await, ErrorKind::Unconfigured);
        let error = tool.retire(a, old).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfigured);
        assert!(error.to_string().contains("`claims.account` holds sealed values"), "{error}");
        assert_eq!(app.read(a, ID).await.unwrap(), "kept");

        // Whoever never had a value in it is not concerned.
        let theirs = app.active(b).await;
        app.credentials.rotate(b).await.unwrap();
        let mut reseal = tool.reseal(b);
        while reseal.step().await.unwrap().is_some() {}
        tool.retire(b, theirs).await.unwrap();

        // A column that is gone is forgotten, by name, and one that is there is not.
        refused(app.store.forget_column(a, "claims.account").await, ErrorKind::Conflict);
        let (_, few) = open_beside(&app.w.issuer, &app.w.kept.place(), Schema::new()).await;
        for column in ["claims.account", "endpoints.previous", "endpoints.absent"] {
            few.forget_column(a, column).await.unwrap();
        }
        let error = tool.retire(a, old).await.unwrap_err();
        assert!(error.to_string().contains("`endpoints.secret` holds sealed values"), "{error}");
        refused(app.credentials.retire(a, old).await, ErrorKind::Conflict);
    }
}

/// The same table, declared by somebody who did not say what is in it.
mod careless {
    use super::*;

    tenant_table! {
        #[derive(Debug, Clone)]
        pub(crate) struct Endpoint in endpoints {
            key id: Uuid,
            name: String,
            secret: Vec<u8>,
            previous: Option<Vec<u8>>,
        }
    }
}

#[tokio::test]
async fn c26_sealed_values_in_a_column_that_is_not_declared_sealed_are_found() {
    for &kind in SQL {
        let app = App::new(kind).await;
        for scope in [&app.w.a, &app.w.b] {
            app.add(scope, ID, "token").await.unwrap();
        }
        let schema = Schema::new().tenant::<careless::Endpoint>();
        let (db, _) = open_beside(&app.w.issuer, &app.w.kept.place(), schema).await;
        let found = async || {
            let report = db.doctor().await.unwrap();
            let sealed = report.findings().iter().filter(|each| each.code().contains("sealed"));
            let each =
                |each: &Finding| [each.code(), each.object(), each.advice()].map(str::to_owned);
            sealed.map(each).collect::<Vec<_>>()
        };
        let findings = found().await;
        let [[code, object, advice]] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!([&**code, object], ["sealed-column-undeclared", "endpoints.secret"]);
        assert!(advice.starts_with("2 rows look sealed"), "{advice}");

        // What only begins so is none.
        let short = app.w.kept.bytes(&[&[0xFA, 1, 1][..], &[0; 96]].concat());
        app.w.kept.run(&format!("UPDATE endpoints SET secret = {short}")).await;
        assert!(found().await.is_empty());
    }
}

mod shared {
    use super::*;

    tenantry::global_table! {
        #[derive(Debug)]
        pub(crate) struct Endpoint in endpoints {
            key id: Uuid,
            secret: Option<SealedValue>,
        }
    }
}

#[test]
fn sealed_values_of_organizations_are_in_tables_of_organizations() {
    let error = Schema::new().global::<shared::Endpoint>().validate().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert!(error.to_string().contains("column `secret` of sealed values"), "{error}");
    Schema::new().tenant::<Endpoint>().validate().unwrap();
}

#[tokio::test]
async fn an_organization_without_keys_begins_nothing() {
    for &kind in SQL {
        let app = App::new(kind).await;
        let (a, b) = (&app.w.a, &app.w.b);
        app.add(b, ID, "kept").await.unwrap();
        refused(app.store.begin(a).await, ErrorKind::Conflict);
        app.add(a, ID, "gone").await.unwrap();
        app.credentials.shred(a).await.unwrap();
        refused(app.store.begin(a).await, ErrorKind::Shredded);
        refused(app.read(a, ID).await, ErrorKind::Shredded);
        assert_eq!(app.read(b, ID).await.unwrap(), "kept");
    }
}

/// Looked up by all indexes under the lock, and made by the newest key if there is none.
async fn claim(app: &App, scope: &TenantScope, account: &str) -> Result<Uuid> {
    let epoch = app.store.epoch(scope).await?;
    let keys = app.credentials.keys();
    let indexes = keys.blind_indexes(scope, "claims.account", account.as_bytes(), epoch).await?;
    let mut tx = app.store.begin(scope).await?;
    let found = Claim::select(scope).filter(claims::account.in_list(indexes.all().to_vec()));
    if let Some(claim) = found.fetch_optional(&mut tx).await? {
        return Ok(claim.id);
    }
    let id = Uuid::new_v4();
    let claim = Claim { id, account: indexes.newest()? };
    Claim::insert(scope, claim).execute(&mut tx).await?;
    tx.commit().await?;
    Ok(id)
}

#[tokio::test]
async fn c26_a_blind_index_is_found_after_a_rotation_and_keeps_its_key() {
    for &kind in SQL {
        let app = App::new(kind).await;
        let (a, b) = (&app.w.a, &app.w.b);
        for scope in [a, b] {
            app.w.put(scope, "token").await;
        }
        let first =
            [claim(&app, a, "shop-1").await.unwrap(), claim(&app, b, "shop-1").await.unwrap()];
        assert_ne!(first[0], first[1]);
        let old = app.active(a).await;
        let stale = {
            let epoch = app.store.epoch(a).await.unwrap();
            let keys = app.credentials.keys();
            let indexes = keys.blind_indexes(a, "claims.account", b"shop-2", epoch).await.unwrap();
            Claim { id: ID, account: indexes.newest().unwrap() }
        };
        refused(Claim::insert(a, stale.clone()).execute(&app.db).await, ErrorKind::Misuse);
        let new = app.credentials.rotate(a).await.unwrap();
        let mut tx = app.store.begin(a).await.unwrap();
        refused(Claim::insert(a, stale).execute(&mut tx).await, ErrorKind::Conflict);
        drop(tx);

        // Another organization's, of a key of the same number.
        let epoch = app.store.epoch(b).await.unwrap();
        app.credentials.rotate(b).await.unwrap();
        let theirs = app.credentials.keys();
        let theirs = theirs.blind_indexes(b, "claims.account", b"shop-2", epoch.next()).await;
        let theirs = Claim { id: ID, account: theirs.unwrap().newest().unwrap() };
        let mut tx = app.store.begin(a).await.unwrap();
        refused(Claim::insert(a, theirs).execute(&mut tx).await, ErrorKind::Conflict);
        drop(tx);

        // Looked up by a prepared read, on the database as in a transaction.
        let by_account = Claim::prepare(|q, (account,)| q.filter(claims::account.eq(account)));
        let epoch = app.store.epoch(a).await.unwrap();
        let keys = app.credentials.keys();
        let all = keys.blind_indexes(a, "claims.account", b"shop-1", epoch).await.unwrap();
        let mut found = 0;
        for index in all.all() {
            found += by_account.fetch_all(a, (*index,), &app.db).await.unwrap().len();
        }
        assert_eq!((all.all().len(), found), (2, 1));

        // What was claimed under the old key is claimed still.
        assert_eq!(claim(&app, a, "shop-1").await.unwrap(), first[0]);
        assert_eq!(Claim::select(a).count(&app.db).await.unwrap(), 1);
        let mut reseal = app.credentials.reseal(a);
        while reseal.step().await.unwrap().is_some() {}
        assert!(app.uses(a).await.contains(&used("claims.account", Some(old), 1)));
        refused(app.credentials.retire(a, old).await, ErrorKind::Conflict);

        let epoch = app.store.epoch(a).await.unwrap();
        let keys = app.credentials.keys();
        let indexes = keys.blind_indexes(a, "claims.account", b"shop-1", epoch).await.unwrap();
        let mut tx = app.store.begin(a).await.unwrap();
        let anew = Claim::update(a).set(claims::account, indexes.newest().unwrap()).key(first[0]);
        assert_eq!(anew.execute(&mut tx).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert!(app.uses(a).await.contains(&used("claims.account", Some(new), 1)));
        app.credentials.retire(a, old).await.unwrap();
        assert_eq!(claim(&app, a, "shop-1").await.unwrap(), first[0]);
        assert_eq!(claim(&app, b, "shop-1").await.unwrap(), first[1]);
    }
}

/// What the store keeps in bytes, and does not count as sealed: wrapped keys, by which nothing opens
/// without their KEK, and what is counted by the key beside it.
const COUNTED_OTHERWISE: [&str; 6] = [
    "kek_canaries.kcv",
    "kek_canaries.wrapped",
    "organization_keys.kcv",
    "organization_keys.wrapped",
    "platform_keys.keys",
    "sealed_credentials.sealed",
];

/// Every column of bytes in the database, whoever made it.
async fn byte_columns(kept: &Kept) -> BTreeSet<String> {
    match kept {
        Kept::Sqlite(path) => {
            let mut connection = raw(path).await;
            let sql = "SELECT m.name || '.' || c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table' AND upper(c.type) = 'BLOB' AND c.name NOT IN ('organization_id', 'id', 'key_id', 'active', 'target', 'last_id')";
            let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        }
        #[cfg(feature = "postgres")]
        Kept::Postgres(database) => {
            let mut connection = database.superuser().await;
            let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bytea'";
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        }
        _ => unreachable!("no SQL reaches it"),
    }
}

#[tokio::test]
async fn c26_every_column_of_bytes_is_counted_or_known_to_hold_no_sealed_value() {
    for &kind in SQL {
        let app = App::new(kind).await;
        app.add(&app.w.a, ID, "token").await.unwrap();
        let declared = app.db.schema().tables().flat_map(|table| {
            let sealed = table.columns().iter().filter(|column| column.is_sealed());
            sealed.map(|column| format!("{}.{}", table.name(), column.name()))
        });
        let known = COUNTED_OTHERWISE.map(str::to_owned);
        let known: BTreeSet<String> = declared.chain(known).collect();
        assert_eq!(byte_columns(&app.w.kept).await, known);
    }
}
