//! TLS: a server with a certificate of an authority that was made for the test.

use std::path::Path;
use std::process::Command;

use sqlx::{AssertSqlSafe, Executor as _};
use tenantry::{Database, ErrorKind, Result};

use super::cluster::{APPLICATION, Cluster, OWNER, TestDatabase};
use super::world::{Customer, customer, schema, scopes};

/// Two authorities of one name, the first of which signs the server's certificate, for the address
/// 127.0.0.1 and no host name.
const CERTIFICATES: &str = r#"
set -eu
new() { openssl req "$@" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes 2>/dev/null; }
for authority in right wrong; do
    new -x509 -days 2 -subj /CN=authority -keyout $authority.key -out $authority.pem
done
new -subj /CN=server -keyout server.key -out server.csr
printf '%s\n' subjectAltName=IP:127.0.0.1 basicConstraints=CA:FALSE extendedKeyUsage=serverAuth >server.ext
openssl x509 -req -in server.csr -CA right.pem -CAkey right.key -CAcreateserial -days 2 \
    -extfile server.ext -out server.pem 2>/dev/null
"#;

/// Everybody but the administrator and the owner has to use TLS.
const ACCESS: &str = "host all postgres,tenantry_owner 127.0.0.1/32 trust
hostssl all all 127.0.0.1/32 trust
";

fn certificates(folder: &Path) {
    let mut command = Command::new("sh");
    let made = command.args(["-c", CERTIFICATES]).current_dir(folder).status().unwrap();
    assert!(made.success(), "the suite makes certificates with `openssl`: install it");
}

/// Writes a file into the folder of the server, as the server.
async fn install(database: &TestDatabase<'_>, name: &str, text: &str) {
    let program = format!("cat >/dev/null; umask 077; cat >{name} <<'END'\n{text}END\n");
    let copy = format!("COPY (SELECT 1) TO PROGRAM $program${program}$program$");
    let mut superuser = database.superuser().await;
    superuser.execute(sqlx::raw_sql(AssertSqlSafe(copy))).await.unwrap();
}

#[tokio::test]
async fn the_url_says_how_far_the_server_is_trusted() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let cluster = Cluster::start(&[]);
    let database = cluster.database().await;
    let ddl = schema().ddl(tenantry::table::Dialect::Postgres)?;
    database.run(OWNER, &ddl).await;
    for name in ["server.pem", "server.key"] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        install(&database, name, &text).await;
    }
    install(&database, "pg_hba.conf", ACCESS).await;
    for setting in ["ssl = on", "ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'"] {
        let sql = format!("ALTER SYSTEM SET {setting}");
        database.superuser().await.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    }
    cluster.control("restart");

    let (issuer, a, b) = scopes().await;
    let root = |name: &str| format!("&sslrootcert={}", folder.path().join(name).display());
    let open = async |host: &str, mode: &str| {
        let plain = database.url(APPLICATION).replace("127.0.0.1", host);
        let url = plain.replace("sslmode=disable", &format!("sslmode={mode}"));
        Database::builder().issuer(&issuer).connect(&url, schema()).await
    };
    let (right, wrong, absent) = (root("right.pem"), root("wrong.pem"), root("absent.pem"));
    for (host, mode) in [
        ("127.0.0.1", "require".to_owned()),
        ("127.0.0.1", "prefer".to_owned()),
        ("127.0.0.1", format!("verify-full{right}")),
    ] {
        let db = open(host, &mode).await.unwrap_or_else(|error| panic!("{host} {mode}: {error}"));
        for scope in [&a, &b] {
            Customer::insert(scope, customer(1)).execute(&db).await?;
            assert_eq!(Customer::select(scope).count(&db).await?, 1);
            Customer::delete(scope).all_rows().execute(&db).await?;
        }
        let plain: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE usename = 'tenantry_app' AND NOT ssl",
        )
        .fetch_one(&mut database.superuser().await)
        .await
        .unwrap();
        assert_eq!(plain, 0, "{mode}");
        db.close().await;
    }
    for (host, mode, said) in [
        ("127.0.0.1", format!("verify-full{wrong}"), "certificate"),
        ("127.0.0.1", format!("verify-ca{right}"), "verify-full"),
        ("127.0.0.1", "verify-full".to_owned(), "certificate"),
        ("localhost", format!("verify-full{right}"), "certificate"),
        ("127.0.0.1", format!("verify-full{absent}"), "a file"),
        ("127.0.0.1", "disable".to_owned(), "over TLS"),
    ] {
        let error = open(host, &mode).await.expect_err(&mode);
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{host} {mode}: {error:?}");
        assert!(error.to_string().contains(said), "{host} {mode}: {error}");
        let all = format!("{error} {error:?}");
        assert!(!all.contains(APPLICATION) && !all.contains("authority\""), "{all}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_the_url_asks_for_it() {
    let database = Cluster::shared().database().await;
    database.run(OWNER, &schema().ddl(tenantry::table::Dialect::Postgres).unwrap()).await;
    let open = async |mode: &str| {
        let url = database.url(APPLICATION).replace("sslmode=disable", mode);
        Database::connect(&url, schema()).await
    };
    for mode in ["sslmode=require", "sslmode=verify-full"] {
        let error = open(mode).await.expect_err(mode);
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{error:?}");
        assert!(error.to_string().contains("TLS"), "{error}");
    }
    // The default goes on without: on a way over a network the doctor says so.
    open("sslmode=prefer").await.unwrap();
}
