//! What the crate offers at all, and what it says without a store: L21, L23, L27, L45, L48, L49, L65,
//! L67, L69, L76, L78.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenantry::ambient::CrossTenantAuthority;
use tenantry::crypto::{
    AccessToken, ClientSecret, DataKey, RefreshToken, SecretBytes, WebhookSecret,
};
use tenantry::database::Transaction;
use tenantry::scope::{Directory, Membership, Principal, Role, ScopeIssuer};
use tenantry::table::{
    ColumnDefinition, Dialect, RowReader, RowWriter, Schema, Table, TableDefinition, TenantTable,
};
use tenantry::{Database, ErrorKind, OrganizationId, TenantScope};
use tokio::sync::Notify;
use uuid::Uuid;

use super::fixture::*;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// Code without comments and without the unit tests at the end of a file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).fold(
        String::new(),
        |mut code, line| {
            let _ = writeln!(code, "{line}");
            code
        },
    )
}

/// The signatures of every function that is `pub` without restriction.
fn public_functions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = code(&text);
        for (at, _) in text.match_indices("pub ") {
            let rest = &text[at + 4..];
            let rest = rest
                .trim_start_matches("async ")
                .trim_start_matches("const ")
                .trim_start_matches("async ");
            let Some(rest) = rest.strip_prefix("fn ") else { continue };
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let end = rest.find(['{', ';']).unwrap_or(rest.len());
            found.push((name, rest[..end].split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    assert!(found.len() > 150, "the scanner lost its way: {}", found.len());
    found
}

/// No public function takes or gives a connection, a pool, a row of the driver, or SQL to run.
#[test]
fn l23_no_public_function_takes_sql_or_hands_out_a_connection() {
    for (name, signature) in public_functions() {
        for word in [
            "sqlx",
            "SqlitePool",
            "SqliteConnection",
            "PoolConnection",
            "SqliteRow",
            "sea_query",
            "Statement",
        ] {
            assert!(!signature.contains(word), "{signature}");
        }
        for word in ["sql: ", "query: &str", "fragment", "raw: "] {
            assert!(!signature.contains(word), "{signature}");
        }
        for word in [
            "raw",
            "execute_sql",
            "unscoped",
            "ignore_filter",
            "without_scope",
            "into_inner",
            "explain",
            "truncate",
            "replace_into",
        ] {
            assert!(!name.contains(word), "{name}");
        }
    }
}

#[test]
fn l27_the_crate_gives_out_neither_plans_nor_sequence_values() {
    for (path, text) in sources() {
        let text = code(&text).to_lowercase();
        for word in [
            "explain query plan",
            "last_insert_rowid",
            "autoincrement",
            "sqlite_sequence",
            "now_v7",
            "now_v1",
        ] {
            let doctor = path.components().any(|part| part.as_os_str() == "doctor");
            assert!(doctor || !text.contains(word), "{word} in {}", path.display());
        }
    }
    let columns: Vec<_> =
        schema().tables().flat_map(|table| table.columns().iter().map(|c| c.name())).collect();
    assert!(!columns.contains(&"organization_id"));
}

#[test]
fn l45_no_state_of_the_process_is_switched() {
    let shipped = sources().into_iter().filter(|(path, _)| !path.ends_with("tests.rs"));
    for (path, text) in shipped {
        let text = code(&text);
        for word in
            ["static mut", "thread_local!", "task_local!", "lazy_static!", "set_var(", "LazyLock<"]
        {
            // It holds nothing, and says that a connection on its way back was in no transaction.
            let empty = word == "task_local!" && path.ends_with("database/postgres/session.rs");
            let expected = usize::from(empty && text.contains("static NEVER_BEGUN: ();"));
            assert_eq!(text.matches(word).count(), expected, "{word} in {}", path.display());
        }
        for line in text
            .lines()
            .filter(|line| line.trim_start().starts_with("static ") || line.contains("pub static "))
        {
            for word in ["Atomic", "Mutex", "RwLock", "OnceLock", "Cell<"] {
                assert!(!line.contains(word), "{line} in {}", path.display());
            }
        }
    }
}

/// The public functions by name, one list for the crate. Who adds one decides here that it cannot
/// reach beyond its scope, or takes a `CrossTenantAuthority`.
#[test]
fn l48_every_public_function_is_on_the_list() {
    let list: BTreeSet<&str> = include_str!("surface.txt").split_whitespace().collect();
    let functions = public_functions();
    let found: BTreeSet<&str> = functions.iter().map(|(name, _)| &**name).collect();
    let added: Vec<_> = found.difference(&list).collect();
    let gone: Vec<_> = list.difference(&found).collect();
    assert!(added.is_empty() && gone.is_empty(), "added {added:?}, gone {gone:?}");
    for (name, signature) in &functions {
        let crosses = ["_across", "_global", "_platform"]
            .iter()
            .any(|word| name.ends_with(word) || name.contains(&format!("{word}_")));
        let exempt = ["allow_cross_tenant"].contains(&name.as_str());
        assert!(!crosses || exempt || signature.contains("CrossTenantAuthority"), "{signature}");
    }
}

/// Whether a type implements a trait, decided by the compiler and told at run time.
macro_rules! implements {
    ($type:ty: $($bound:tt)+) => {{
        struct Probe<T: ?Sized>(PhantomData<T>);
        #[allow(dead_code, reason = "used where the bound does not hold")]
        trait Otherwise {
            const YES: bool = false;
        }
        impl<T: ?Sized> Otherwise for Probe<T> {}
        impl<T: ?Sized + $($bound)+> Probe<T> {
            #[allow(dead_code, reason = "used where the bound holds")]
            const YES: bool = true;
        }
        let _ = Probe::<$type>(PhantomData);
        <Probe<$type>>::YES
    }};
}

#[test]
fn l48_neither_scopes_nor_authority_come_from_anywhere_else() {
    assert!(
        implements!(TenantScope: Clone) && implements!(OrganizationId: serde::de::DeserializeOwned),
        "the probe works"
    );
    for (what, has) in [
        ("a default scope", implements!(TenantScope: Default)),
        ("a parsed scope", implements!(TenantScope: std::str::FromStr)),
        ("a deserialized scope", implements!(TenantScope: serde::de::DeserializeOwned)),
        ("a serialized scope", implements!(TenantScope: serde::Serialize)),
        ("a scope of an id", implements!(TenantScope: From<OrganizationId>)),
        ("a copied scope", implements!(TenantScope: Copy)),
        ("a default organization", implements!(OrganizationId: Default)),
        ("an organization of an option", implements!(OrganizationId: From<Option<OrganizationId>>)),
        ("an organization of text", implements!(OrganizationId: From<String>)),
        ("an organization of a number", implements!(OrganizationId: From<i64>)),
        ("an organization of a uuid", implements!(OrganizationId: From<Uuid>)),
        ("a cloned authority", implements!(CrossTenantAuthority: Clone)),
        ("a default authority", implements!(CrossTenantAuthority: Default)),
        (
            "a deserialized authority",
            implements!(CrossTenantAuthority: serde::de::DeserializeOwned),
        ),
        ("a cloned transaction", implements!(Transaction: Clone)),
        ("a default issuer", implements!(ScopeIssuer: Default)),
    ] {
        assert!(!has, "{what}");
    }
    assert!(
        implements!(Database: Clone) && implements!(Database: Send) && implements!(Database: Sync)
    );
}

/// A secret has one door, and no trait opens another.
#[test]
fn c37_secrets_are_neither_copied_nor_shown_nor_compared_by_any_trait() {
    macro_rules! closed {
        ($($secret:ty)+) => {$(
            for (what, has) in [
                ("cloned", implements!($secret: Clone)),
                ("displayed", implements!($secret: std::fmt::Display)),
                ("serialized", implements!($secret: serde::Serialize)),
                ("deserialized", implements!($secret: serde::de::DeserializeOwned)),
                ("compared", implements!($secret: PartialEq)),
                ("ordered", implements!($secret: PartialOrd)),
                ("hashed", implements!($secret: std::hash::Hash)),
                ("dereferenced", implements!($secret: std::ops::Deref)),
                ("borrowed as bytes", implements!($secret: AsRef<[u8]>)),
                ("borrowed as text", implements!($secret: AsRef<str>)),
                ("turned into text", implements!($secret: Into<String>)),
                ("turned into bytes", implements!($secret: Into<Vec<u8>>)),
                ("made of nothing", implements!($secret: Default)),
            ] {
                assert!(!has, "{} is {what}", stringify!($secret));
            }
        )+};
    }
    assert!(implements!(String: serde::Serialize) && implements!(String: Into<Vec<u8>>));
    closed!(SecretBytes AccessToken RefreshToken ClientSecret WebhookSecret DataKey);
}

#[test]
fn l49_no_organization_stands_for_none_or_for_all() {
    let refused = |outcome: tenantry::Result<OrganizationId>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Invalid);
    };
    refused(OrganizationId::from_uuid(Uuid::nil()));
    for number in [0, -1, i64::MIN] {
        refused(OrganizationId::from_i64(number));
    }
    for text in [
        "",
        " ",
        "*",
        "%",
        "a b",
        "ä",
        ".",
        "..",
        ".a",
        "a.",
        "a/b",
        "a\0",
        "a\n",
        "'",
        "\"",
        "0",
        "-1",
        "00000000-0000-0000-0000-000000000000",
    ] {
        refused(OrganizationId::from_text(text));
        assert!(text.parse::<OrganizationId>().is_err() || text == "-", "{text:?}");
        assert!(serde_json::from_value::<OrganizationId>(text.into()).is_err(), "{text:?}");
    }
    refused(OrganizationId::from_text("a".repeat(65)));
    for json in ["null", "0", "1", "[]", "{}", "true", "\"\""] {
        assert!(serde_json::from_str::<OrganizationId>(json).is_err(), "{json}");
    }
    assert!(serde_json::from_str::<Option<OrganizationId>>("null").unwrap().is_none());
}

/// One text, three kinds: they are equal in nothing that a key is made of.
#[test]
fn l65_the_kind_of_an_organization_is_part_of_equality_hash_and_every_written_form() {
    let number = OrganizationId::from_i64(0x6161_6161_6161_6161).unwrap();
    let text = OrganizationId::from_text("aaaaaaaa").unwrap();
    let long = OrganizationId::from_text("aaaaaaaaaaaaaaaa").unwrap();
    let uuid = OrganizationId::from_uuid(Uuid::from_bytes([b'a'; 16])).unwrap();
    let ids = [number, text, long, uuid];
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(ids.iter().map(|id| id.encoded()).collect::<HashSet<_>>().len(), 4);
    assert_eq!(ids.iter().map(ToString::to_string).collect::<HashSet<_>>().len(), 4);
    for id in &ids {
        let json = serde_json::to_string(id).unwrap();
        assert_eq!(serde_json::from_str::<OrganizationId>(&json).unwrap(), *id);
        assert_eq!(serde_json::from_str::<OrganizationId>(&json).unwrap().kind(), id.kind());
        assert!(id.encoded().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }
    // What is the canonical form of one kind is no text key.
    assert!(OrganizationId::from_text("42").is_err());
    assert!(OrganizationId::from_text(Uuid::from_u128(7).to_string()).is_err());
}

/// Names reach SQL from declarations alone, and a declaration takes none that could end its quotes.
#[test]
fn l67_a_name_that_ends_its_quotes_cannot_be_declared() {
    for name in [
        "a\"b",
        "a\"; DROP TABLE b; --",
        "a'b",
        "a`b",
        "a\\",
        "a\0",
        "a\nb",
        "",
        "sqlite_master",
        "SQLite_x",
        "tenantry_scope",
        "Tenantry_wall",
    ] {
        let declared = std::panic::catch_unwind(|| {
            let columns: &'static [ColumnDefinition] =
                Box::leak(Box::new([ColumnDefinition::of::<i64>("id").key()]));
            TableDefinition::tenant(name, "organization_id", columns)
        });
        assert!(declared.is_err(), "{name:?}");
    }
    let long: &'static str = Box::leak("n".repeat(64).into_boxed_str());
    assert!(std::panic::catch_unwind(|| ColumnDefinition::of::<i64>(long)).is_err());
}

macro_rules! by_hand {
    ($name:ident, $definition:expr) => {
        #[derive(Debug)]
        struct $name;
        impl Table for $name {
            type Key = i64;
            fn definition() -> &'static TableDefinition {
                static COLUMNS: [ColumnDefinition; 1] = [ColumnDefinition::of::<i64>("id").key()];
                static OWNED: [ColumnDefinition; 2] = [
                    ColumnDefinition::of::<i64>("id").key(),
                    ColumnDefinition::of::<Uuid>("ORGANIZATION_ID"),
                ];
                let _ = (&COLUMNS, &OWNED);
                static TABLE: TableDefinition = $definition(&COLUMNS, &OWNED);
                &TABLE
            }
            fn encode(&self, _: &mut RowWriter<'_>) -> tenantry::Result<()> {
                Ok(())
            }
            fn decode(_: &mut RowReader<'_>) -> tenantry::Result<Self> {
                Ok(Self)
            }
        }
    };
}

type Columns = &'static [ColumnDefinition];

const fn again_as_tenant(columns: Columns, _: Columns) -> TableDefinition {
    TableDefinition::tenant("ORDERS", "organization_id", columns)
}

const fn global_with_tenant_column(_: Columns, owned: Columns) -> TableDefinition {
    TableDefinition::global("shared_orders", owned)
}

const fn global_orders(columns: Columns, _: Columns) -> TableDefinition {
    TableDefinition::global("Orders", columns)
}

by_hand!(OrdersAgain, again_as_tenant);
by_hand!(SharedOrders, global_with_tenant_column);
by_hand!(GlobalOrders, global_orders);
impl TenantTable for OrdersAgain {}
impl tenantry::table::GlobalTable for SharedOrders {}
impl tenantry::table::GlobalTable for GlobalOrders {}
// Declared as global, passed off as tenant-owned.
impl TenantTable for SharedOrders {}

#[tokio::test]
async fn l76_a_table_declared_twice_or_as_what_it_is_not_is_refused() {
    for (what, schema) in [
        ("twice, under another case", schema().tenant::<OrdersAgain>()),
        ("a tenant table as global", schema().global::<GlobalOrders>()),
        ("a global table with the tenant column", schema().global::<SharedOrders>()),
        ("a global declaration as tenant-owned", schema().tenant::<SharedOrders>()),
        ("the same twice", schema().tenant::<Order>()),
        ("a reference to what is not registered", Schema::new().tenant::<Order>()),
    ] {
        let error = schema.validate().expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Misuse, "{what}");
        let refused = Database::connect("sqlite::memory:", schema).await.expect_err(what);
        assert_eq!(refused.kind(), ErrorKind::Misuse, "{what}");
    }
}

/// Every key that is made begins with the tenant column; on SQLite every tenant table is STRICT
/// without rowids.
#[test]
fn l21_every_created_key_begins_with_the_tenant_column() {
    for (dialect, column) in [
        (Dialect::Sqlite, "\"organization_id\" BLOB NOT NULL CHECK"),
        (Dialect::Postgres, "\"organization_id\" uuid NOT NULL CONSTRAINT"),
    ] {
        let (mut tables, mut keys) = (0, 0);
        for statement in schema().ddl(dialect).unwrap() {
            let (what, inside) = statement.split_once('(').unwrap_or((&statement, ""));
            if what.contains("\"genres\"") {
                continue;
            }
            if what.contains("INDEX") {
                assert!(inside.starts_with("\"organization_id\""), "{statement}");
            }
            if what.starts_with("CREATE TABLE") {
                tables += 1;
                assert!(statement.contains(column), "{statement}");
                let strict = statement.ends_with("STRICT, WITHOUT ROWID");
                assert!(strict || dialect == Dialect::Postgres, "{statement}");
            }
            for key in ["PRIMARY KEY (", "UNIQUE (", "FOREIGN KEY ("] {
                for (at, _) in statement.match_indices(key) {
                    keys += 1;
                    let columns = &statement[at + key.len()..];
                    let shared = columns.starts_with("\"genre_id\") REFERENCES \"genres\"");
                    assert!(shared || columns.starts_with("\"organization_id\""), "{statement}");
                }
            }
        }
        // Four tables of organizations; their keys, two unique columns, four references.
        assert_eq!((tables, keys), (4, 10), "{dialect:?}");
    }
}

/// Ids are fresh random bits: what one organization makes between two ids of another shows in
/// neither.
#[test]
fn l69_ids_share_no_counter_and_no_clock() {
    let ids: Vec<OrganizationId> = (0..2_000).map(|_| OrganizationId::new()).collect();
    let bits: Vec<u128> =
        ids.iter().map(|id| uuid::Uuid::parse_str(&id.to_string()).unwrap().as_u128()).collect();
    assert_eq!(bits.iter().collect::<HashSet<_>>().len(), bits.len());
    let rising = bits.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((800..1_200).contains(&rising), "{rising} of 1999 rise");
    for (bit, fixed) in (0..128).map(|bit| (bit, matches!(bit, 62 | 63 | 76..=79))) {
        let ones = bits.iter().filter(|id| *id >> bit & 1 == 1).count();
        assert!(fixed || (800..1_200).contains(&ones), "bit {bit}: {ones} of 2000");
    }
}

/// Suspended while the Directory is still answering: no scope comes of it.
#[tokio::test]
async fn l78_a_suspension_during_the_wait_to_enter_is_not_missed() {
    #[derive(Debug, Default)]
    struct Slow {
        asked: Notify,
        answer: Notify,
    }
    #[async_trait::async_trait]
    impl Directory for Slow {
        async fn membership(
            &self,
            _: &Principal,
            _: &OrganizationId,
        ) -> tenantry::Result<Option<Membership>> {
            self.asked.notify_one();
            self.answer.notified().await;
            Ok(Some(Membership::new(Role::Owner, true)))
        }
        async fn organizations(&self, _: &Principal) -> tenantry::Result<Vec<OrganizationId>> {
            Ok(Vec::new())
        }
        async fn is_active(&self, _: &OrganizationId) -> tenantry::Result<bool> {
            Ok(true)
        }
    }
    type Stop = fn(&ScopeIssuer);
    let stops: [(Stop, Stop); 2] = [
        (|issuer| issuer.suspend(organization(0xA)), |issuer| issuer.resume(organization(0xA))),
        (ScopeIssuer::halt_all, ScopeIssuer::resume_all),
    ];
    for (stop, resume) in stops {
        for resumed in [false, true] {
            let slow = Arc::new(Slow::default());
            let issuer = ScopeIssuer::new(Arc::clone(&slow));
            let inside = issuer.clone();
            let entering =
                tokio::spawn(async move { inside.enter(&ann(), organization(0xA)).await });
            slow.asked.notified().await;
            stop(&issuer);
            if resumed {
                resume(&issuer);
            }
            slow.answer.notify_one();
            assert_eq!(entering.await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
        }
    }
}
