//! Outputs, order, and what a statement may be.

use super::*;

#[test]
fn witnesses_are_bound_to_the_organization() {
    for (dialect, witness, other) in [(Sqlite, "min", "bool_and"), (Postgres, "bool_and", "min")] {
        let sql = format!(
            r#"SELECT {witness}(t0."organization_id" = ?), t0."a", count(*), count(DISTINCT t0."b"), sum(t0."b"), max(t0."b"), min(t0."b") FROM "orders" AS t0 WHERE t0."organization_id" = ? GROUP BY t0."a" HAVING (count(*) > ? AND t0."a" = ?) ORDER BY sum(t0."b") DESC NULLS LAST, t0."a""#
        );
        accepts_in(dialect, &sql, &[0, 1]);
        refuses_in(
            dialect,
            &sql.replace(&format!("{witness}(t0.\"org"), &format!("{other}(t0.\"org")),
            "SELECT",
        );
        refuses_in(
            dialect,
            &sql.replace("sum(t0.\"b\"),", "sum(t0.\"organization_id\"),"),
            "tenant column",
        );
        refuses_in(dialect, &sql.replace("sum(t0.\"b\"),", "sum(DISTINCT t0.\"b\"),"), "");
        refuses_in(dialect, &sql.replace("sum(t0.\"b\"),", "total(t0.\"b\"),"), "function");
        refuses_in(dialect, &sql.replace("count(*),", "count(*) OVER (),"), "");
        refuses_in(
            dialect,
            &sql.replace("count(*),", "count(*) FILTER (WHERE t0.\"b\" = t0.\"b\"),"),
            "",
        );
        refuses_in(
            dialect,
            &sql.replace("GROUP BY t0.\"a\"", "GROUP BY t0.\"organization_id\""),
            "GROUP BY",
        );
        refuses_in(
            dialect,
            &sql.replace("AND t0.\"a\" = ?", "AND t0.\"organization_id\" = ?"),
            "HAVING",
        );
        refuses_in(
            dialect,
            &sql.replace("DESC NULLS LAST, t0.\"a\"", ", t0.\"organization_id\""),
            "ORDER BY",
        );
        refuses_in(dialect, &sql.replace("DESC NULLS LAST, t0.\"a\"", ", 1"), "ORDER BY");
        let witnessed = format!("({witness}(t0.\"organization_id\" = ?) = ? AND");
        refuses_in(dialect, &sql.replace("(count(*) > ? AND", &witnessed), "HAVING");
        refuses_in(
            dialect,
            &sql.replace("(count(*) > ? AND", "(EXISTS (SELECT 1 FROM \"countries\" AS t1) AND"),
            "HAVING",
        );
    }
}

#[test]
fn outputs_are_columns() {
    accepts(&FIND.replace("SELECT", "SELECT DISTINCT"), &[0]);
    accepts(&FIND.replace(r#"t0."id" FROM"#, r#"t0."id" IS NULL FROM"#), &[0]);
    refuses(
        &FIND.replace(r#"t0."organization_id","#, r#"t0."organization_id" IS NULL,"#),
        "tenant column",
    );
    for output in [
        "*",
        "t0.*",
        "1",
        "'x'",
        "?",
        "NULL",
        r#"t0."id" + 1"#,
        r#"t0."id" AS "x""#,
        r#"(t0."id")"#,
        r#"lower(t0."id")"#,
        "(SELECT 1)",
    ] {
        let sql = FIND.replace(r#"t0."organization_id", t0."id""#, output);
        BOTH.into_iter().for_each(|dialect| assert!(verdict(&sql, dialect).is_err(), "{sql}"));
    }
    let distinct_on = FIND.replace("SELECT", r#"SELECT DISTINCT ON (t0."a")"#);
    refuses_in(Postgres, &distinct_on, "");
}

#[test]
fn order_limit_and_lock() {
    accepts(
        &after_find(
            r#" ORDER BY t0."a" ASC NULLS FIRST, t0."b" DESC NULLS LAST, t0."id" LIMIT ? OFFSET ?"#,
        ),
        &[0],
    );
    accepts_in(Postgres, &after_find(r#" ORDER BY t0."id" LIMIT ? FOR UPDATE OF t0"#), &[0]);
    refuses_in(Sqlite, &after_find(" FOR UPDATE OF t0"), "");
    for rest in [
        " LIMIT 1",
        " LIMIT ?, ?",
        " OFFSET ?",
        " LIMIT ? OFFSET 1",
        " LIMIT (SELECT 1)",
        " FOR SHARE",
        " FOR UPDATE SKIP LOCKED",
        " FOR UPDATE",
        " FOR UPDATE OF t1",
        " FOR UPDATE OF t0 NOWAIT",
        " FOR SHARE OF t0",
        r#" ORDER BY "id""#,
        r#" ORDER BY t0."organization_id""#,
        r#" ORDER BY t0."a" = ?"#,
        r#" ORDER BY t0."a" COLLATE "C""#,
        " FETCH FIRST ROW ONLY",
        r#" WINDOW win AS (ORDER BY t0."id")"#,
    ] {
        let sql = after_find(rest);
        BOTH.into_iter().for_each(|dialect| assert!(verdict(&sql, dialect).is_err(), "{sql}"));
    }
}

// ---- the statement

#[test]
fn tables_are_known_unqualified_and_aliased() {
    let from = |table: &str| FIND.replace(r#""orders" AS t0"#, table);
    refuses(&from(r#""secrets" AS t0"#), "`secrets` is not a known table");
    refuses(&from(r#""main"."orders" AS t0"#), "is qualified");
    refuses(&from(r#""temp"."orders" AS t0"#), "is qualified");
    refuses(&from("orders AS t0"), "not quoted");
    refuses(&from(r#""orders""#), "has no alias");
    refuses(&from(r#""orders" t0"#), "`AS` was expected");
    refuses(&from(r#""orders" AS "t0""#), "an alias is");
    refuses(&from(r#""orders" AS x"#), "an alias is");
    refuses(&from(r#""orders" AS t"#), "an alias is");
    refuses(&from(r#""orders"(?) AS t0"#), "");
    refuses(&from("generate_series(1, 2) AS t0"), "");
    refuses(&from(r#""orders" AS t0 ("organization_id")"#), "");
    refuses_in(Postgres, &from(r#"ONLY "orders" AS t0"#), "");
    refuses_in(Postgres, &from(r#""orders" AS t0 TABLESAMPLE SYSTEM (?)"#), "");
    refuses_in(Sqlite, &from(r#""orders" AS t0 INDEXED BY "x""#), "");
    refuses_in(Sqlite, &from("`orders` AS t0"), "");
    refuses_in(Sqlite, &from("[orders] AS t0"), "");
}

#[test]
fn there_is_one_select_insert_update_or_delete() {
    refuses("", "not one statement");
    refuses(&format!("{FIND}; {FIND}"), "not one statement");
    refuses(&format!("{FIND};"), "goes on");
    refuses(
        &format!(r#"UPDATE temp."tenantry_scope" SET "organization" = ?; {FIND}"#),
        "not one statement",
    );
    refuses(&format!("{FIND} UNION ALL {FIND}"), "a set operation");
    refuses(&format!("{FIND} EXCEPT {FIND}"), "a set operation");
    refuses(&format!(r#"WITH "orders" AS ({FIND}) {FIND}"#), "");
    refuses(&format!("({FIND})"), "");
    refuses(&format!("EXPLAIN {FIND}"), "no SELECT");
    refuses(r#"DROP TABLE "orders""#, "no SELECT");
    refuses(r#"TRUNCATE TABLE "orders""#, "no SELECT");
    refuses("VALUES (?)", "a set operation or reads no table");
    refuses("SELECT 1", "FROM does not begin");
    refuses("SELEC", "not SQL");
    refuses_in(Postgres, &FIND.replace(" FROM", r#" INTO "x" FROM"#), "");
    refuses_in(Postgres, r#"TABLE "orders""#, "");
}

#[test]
fn comments_are_refused() {
    refuses(&format!("{FIND} -- x"), "goes on");
    refuses(&format!("/* x */ {FIND}"), "`SELECT` was expected");
    refuses(&FIND.replace(" WHERE", " /* x */ WHERE"), "`WHERE` was expected");
    refuses(&FIND.replace(" WHERE", "\nWHERE"), "`WHERE` was expected");
}

#[test]
fn placeholders_are_numbered_in_the_order_of_the_text() {
    let in_order =
        r#"SELECT t0."id" FROM "orders" AS t0 WHERE t0."organization_id" = $1 AND t0."id" = $2"#;
    let judged = |sql: &str| judge(sql, Postgres, &known);
    assert_eq!(judged(in_order), Ok(Judged { organization: vec![0], placeholders: 2 }));
    assert!(judged(&in_order.replace("$2", "$1")).is_err());
    assert!(judged(&in_order.replace("$2", "$3")).is_err());
    assert!(judged(&in_order.replace("$1", "$2").replace("\"id\" = $2", "\"id\" = $1")).is_err());
    assert!(judged(&in_order.replace("$1", "?").replace("$2", "?")).is_err());
    for placeholder in ["?1", "$1", ":organization", "@organization", "$organization"] {
        let sql = FIND.replace('?', placeholder);
        assert!(judge(&sql, Sqlite, &known).is_err(), "{placeholder}");
    }
}

#[test]
fn a_refusal_repeats_no_literal() {
    for sql in [
        r#"SELECT t0."id" FROM "orders" AS t0 WHERE t0."organization_id" = 'hidden'"#,
        r#"SELECT t0."id" FROM "orders" AS t0 WHERE t0."organization_id" = ? AND (t0."a" = 'hidden')"#,
        r#"SELECT 'hidden' FROM "orders" AS t0"#,
        "SELECT FROM FROM 'hidden' 'hidden",
        "SELECT 'a' 'hidden' 'hidden' ) FROM",
        r#"INSERT INTO "orders" AS t0 ("organization_id") VALUES ('hidden')"#,
    ] {
        for dialect in BOTH {
            assert!(!verdict(sql, dialect).expect_err(sql).contains("hidden"), "{sql}");
        }
    }
}
