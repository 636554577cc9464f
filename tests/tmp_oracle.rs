//! Temporary: the oracles by themselves.
#[path = "it/oracle/mod.rs"]
mod oracle;

/// Reproducer: whether the bundled SQLite counts rows of EXISTS twice under a limit.
#[tokio::test]
async fn sqlite_exists_under_limit() {
    use sqlx::{Connection as _, Row as _};
    let mut c = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql("CREATE TABLE e(o BLOB NOT NULL, id INTEGER NOT NULL, boss INTEGER, PRIMARY KEY(o,id)) STRICT, WITHOUT ROWID; CREATE INDEX i ON e(o,boss); INSERT INTO e VALUES (x'77',1,NULL),(x'77',2,1),(x'77',3,1);").execute(&mut c).await.unwrap();
    let exists = "SELECT t2.id FROM e AS t2 WHERE t2.o=x'77' AND (EXISTS (SELECT 1 FROM e AS t3 WHERE t3.o=x'77' AND t2.o=t3.o AND t3.boss=t2.id))";
    for tail in ["", " ORDER BY t2.id LIMIT 5", " ORDER BY t2.boss, t2.id LIMIT 5", " ORDER BY t2.boss ASC NULLS FIRST, t2.id LIMIT 5", " ORDER BY t2.boss ASC NULLS FIRST, t2.id LIMIT 1 OFFSET 1"] {
        let sql = format!("{exists}{tail}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).fetch_all(&mut c).await.unwrap();
        let ids: Vec<i64> = rows.iter().map(|r| r.get(0)).collect();
        let sql = format!("SELECT (5 IN ({exists}{tail})), (NULL IN ({exists}{tail})), (SELECT count(*) FROM ({exists}{tail}))");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut c).await.unwrap();
        println!("{tail:?}: {ids:?} in: {:?} {:?} count {:?}", row.get::<Option<i64>, _>(0), row.get::<Option<i64>, _>(1), row.get::<Option<i64>, _>(2));
    }
    let sql = exists.replace("t3.boss=t2.id)", "t3.boss=t2.id LIMIT 1)") + " ORDER BY t2.boss ASC NULLS FIRST, t2.id LIMIT 1 OFFSET 1";
    println!("with LIMIT 1 inside: {} rows", sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut c).await.unwrap().len());
    let sql = format!("{exists} ORDER BY t2.id LIMIT 1 OFFSET 1");
    println!("by key, offset 1: {} rows", sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut c).await.unwrap().len());
    let v: String = sqlx::query_scalar("select sqlite_version()").fetch_one(&mut c).await.unwrap();
    println!("sqlite {v}");
}
