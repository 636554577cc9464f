//! Insert, update and delete.

use super::*;

#[test]
fn an_insert_writes_the_organization_in_every_row() {
    accepts(INSERT, &[0]);
    accepts(&after_insert(", (?, ?, ?), (?, ?, ?)"), &[0, 3, 6]);
    accepts(
        r#"INSERT INTO "orders" AS t0 ("id", "organization_id") VALUES (?, ?), (?, ?)"#,
        &[1, 3],
    );
    accepts(r#"INSERT INTO "countries" AS t0 ("id", "name") VALUES (?, ?)"#, &[]);
    let columns = |columns: &str| INSERT.replace(r#""organization_id", "id", "note""#, columns);
    refuses(
        &columns(r#""tenant", "id", "note""#),
        "column list of INSERT does not have the tenant column once",
    );
    refuses(
        &columns(r#""organization_id", "id", "Organization_Id""#),
        "does not have the tenant column once",
    );
    refuses(&columns(r#""organization_id", "id""#), "not as long as");
    refuses(&columns(r#""organization_id", "id", note"#), "not quoted");
    refuses(&columns(r#""organization_id", "id", t0."note""#), "qualified");
    refuses(r#"INSERT INTO "orders" AS t0 VALUES (?, ?, ?)"#, "");
    refuses(&INSERT.replace("(?,", "(1,"), "a placeholder is missing");
    refuses(&INSERT.replace("(?,", "(NULL,"), "a placeholder is missing");
    refuses(&INSERT.replace("(?,", "(DEFAULT,"), "a placeholder is missing");
    refuses(&INSERT.replace("(?,", "((SELECT 1),"), "a placeholder is missing");
    refuses(&INSERT.replace("?)", "'x')"), "a placeholder is missing");
    refuses(&after_insert(", (?, ?)"), "not as long as");
    refuses(&INSERT.replace("orders", "secrets"), "not a known table");
    refuses(&INSERT.replace(r#""orders""#, r#""main"."orders""#), "qualified");
    refuses(&INSERT.replace(" AS t0", ""), "no alias");
}

#[test]
fn an_insert_takes_values_only() {
    let select = INSERT.replace("VALUES (?, ?, ?)", FIND);
    refuses(&select, "something else than VALUES");
    refuses(r#"INSERT INTO "orders" AS t0 DEFAULT VALUES"#, "");
    for start in
        ["REPLACE INTO", "INSERT OR REPLACE INTO", "INSERT OR IGNORE INTO", "INSERT OR ABORT INTO"]
    {
        refuses_in(Sqlite, &INSERT.replace("INSERT INTO", start), "");
    }
    refuses_in(Postgres, &INSERT.replace("VALUES", "OVERRIDING SYSTEM VALUE VALUES"), "");
    refuses(&after_insert(" LIMIT ?"), "goes on");
    refuses(&after_insert(" ORDER BY 1"), "goes on");
}

const UPSERT: &str = r#" ON CONFLICT ("organization_id", "id") DO UPDATE SET "note" = excluded."note" WHERE t0."organization_id" = ?"#;

#[test]
fn a_conflict_has_the_tenant_in_its_target_and_guards_its_update() {
    accepts(&after_insert(UPSERT), &[0, 3]);
    accepts(&after_insert(r#" ON CONFLICT ("organization_id", "id") DO NOTHING"#), &[0]);
    accepts(
        r#"INSERT INTO "countries" AS t0 ("id", "name") VALUES (?, ?) ON CONFLICT ("id") DO UPDATE SET "name" = excluded."name""#,
        &[],
    );
    let upsert = |from: &str, to: &str| {
        assert!(UPSERT.contains(from), "{from}");
        after_insert(&UPSERT.replace(from, to))
    };
    refuses(
        &upsert(r#""organization_id", "id""#, r#""id""#),
        "the target of ON CONFLICT does not have",
    );
    refuses(
        &after_insert(r#" ON CONFLICT ("id") DO NOTHING"#),
        "the target of ON CONFLICT does not have",
    );
    refuses(&after_insert(" ON CONFLICT DO NOTHING"), "no columns as its target");
    refuses(
        &upsert(r#" WHERE t0."organization_id" = ?"#, ""),
        "WHERE has no organization predicate",
    );
    refuses(&upsert(r#"WHERE t0."organization_id" = ?"#, r#"WHERE t0."id" = ?"#), "WHERE has no");
    refuses(&upsert("WHERE t0.", "WHERE excluded."), "");
    refuses(
        &upsert(r#"WHERE t0."organization_id" = ?"#, r#"WHERE (t0."organization_id" = ?)"#),
        "tenant column",
    );
    refuses(
        &upsert(
            r#"WHERE t0."organization_id" = ?"#,
            r#"WHERE t0."organization_id" = excluded."organization_id""#,
        ),
        "",
    );
    refuses(&upsert(r#"SET "note" ="#, r#"SET "organization_id" ="#), "SET sets the tenant column");
    refuses(&upsert(r#"= excluded."note""#, r#"= excluded."organization_id""#), "something else");
    refuses(&upsert(r#"= excluded."note""#, "= ?"), "something else");
    refuses(&upsert(r#"= excluded."note""#, r#"= t0."note""#), "something else");
    refuses(&upsert(r#"= excluded."note""#, r#"= "excluded"."note""#), "something else");
    refuses_in(Postgres, &after_insert(r#" ON CONFLICT ON CONSTRAINT "pk" DO NOTHING"#), "");
    refuses(&after_insert(r#" ON DUPLICATE KEY UPDATE "note" = ?"#), "");
}

#[test]
fn an_update_is_restricted_and_leaves_the_tenant() {
    let sql = r#"UPDATE "orders" AS t0 SET "a" = ?, "b" = t0."b" + ?, "c" = t0."d" WHERE t0."organization_id" = ? AND (t0."id" = ?)"#;
    accepts(sql, &[2]);
    accepts(r#"UPDATE "countries" AS t0 SET "name" = ?"#, &[]);
    refuses(r#"UPDATE "orders" AS t0 SET "a" = ?"#, "WHERE has no organization predicate");
    refuses(r#"UPDATE "orders" AS t0 SET "a" = ? WHERE (t0."id" = ?)"#, "WHERE has no");
    let changed = |from: &str, to: &str| {
        assert!(sql.contains(from), "{from}");
        sql.replace(from, to)
    };
    refuses(&changed(r#"SET "a" ="#, r#"SET "organization_id" ="#), "SET sets the tenant column");
    refuses(&changed(r#"SET "a" ="#, r#"SET "ORGANIZATION_id" ="#), "SET sets the tenant column");
    refuses(
        &changed(r#"SET "a" = ?"#, r#"SET ("organization_id", "a") = (?, ?)"#),
        "more than one column",
    );
    refuses(&changed(r#"SET "a" ="#, r#"SET t0."a" ="#), "qualified");
    refuses(
        &changed(r#"= t0."d""#, r#"= t0."organization_id""#),
        "the tenant column stands in SET",
    );
    refuses(&changed(r#"= t0."d""#, r#"= "d""#), "");
    refuses(&changed(r#"= t0."d""#, "= 'x'"), "a placeholder is missing");
    refuses(&changed(r#"= t0."d""#, "= (SELECT 1)"), "");
    refuses(&changed(r#"= t0."d""#, r#"= t0."d" FROM "countries" AS t1"#), "`WHERE` was expected");
    refuses(&changed("UPDATE", "UPDATE OR REPLACE"), "");
    refuses(&changed(r#""orders" AS t0"#, r#""orders""#), "no alias");
    refuses(
        &changed(
            r#""orders" AS t0"#,
            r#""orders" AS t0 INNER JOIN "countries" AS t1 ON t1."id" = t0."id""#,
        ),
        "not joined",
    );
    refuses(&changed(r#"(t0."id" = ?)"#, r#"(t0."id" = ?) LIMIT ?"#), "goes on");
}

#[test]
fn a_delete_is_restricted() {
    let sql = r#"DELETE FROM "orders" AS t0 WHERE t0."organization_id" = ? AND (t0."id" = ?)"#;
    accepts(sql, &[0]);
    accepts(r#"DELETE FROM "countries" AS t0"#, &[]);
    refuses(r#"DELETE FROM "orders" AS t0"#, "WHERE has no organization predicate");
    refuses(&sql.replace(" AND ", " OR "), "outside parentheses");
    refuses(&sql.replace(r#""organization_id" = ?"#, r#""id" = ?"#), "WHERE has no");
    refuses(&sql.replace(" WHERE", r#" USING "countries" AS t1 WHERE"#), "");
    refuses(&format!(r#"{sql} ORDER BY t0."id" LIMIT ?"#), "goes on");
    refuses(
        &sql.replace(r#""orders" AS t0"#, r#""orders" AS t0, "lines" AS t1"#),
        "more than one table",
    );
    refuses(&sql.replace(r#""orders""#, r#""main"."orders""#), "qualified");
}

#[test]
fn returning_names_the_written_table() {
    for (head, organization) in [
        (INSERT.to_owned(), 0),
        (r#"UPDATE "orders" AS t0 SET "a" = ? WHERE t0."organization_id" = ?"#.to_owned(), 1),
        (r#"DELETE FROM "orders" AS t0 WHERE t0."organization_id" = ?"#.to_owned(), 0),
    ] {
        let by_name = format!(r#"{head} RETURNING "orders"."organization_id", "orders"."id""#);
        let by_alias = format!(r#"{head} RETURNING t0."organization_id", t0."id""#);
        accepts_in(Sqlite, &by_name, &[organization]);
        accepts_in(Postgres, &by_alias, &[organization]);
        refuses_in(Sqlite, &by_alias, "not quoted");
        refuses_in(Postgres, &by_name, "RETURNING");
        for output in
            ["*", r#""id""#, r#""lines"."id""#, r#"t1."id""#, "1", "count(*)", "(SELECT 1)"]
        {
            refuses(&format!("{head} RETURNING {output}"), "");
        }
    }
}
