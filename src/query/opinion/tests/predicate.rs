//! The predicate of the base table, and filters.

use super::*;

#[test]
fn a_base_table_needs_its_predicate() {
    accepts(FIND, &[0]);
    accepts(&after_find(r#" AND t0."id" = ?"#), &[0]);
    refuses(r#"SELECT t0."id" FROM "orders" AS t0"#, "WHERE has no organization predicate");
    refuses(r#"SELECT t0."id" FROM "orders" AS t0 WHERE t0."id" = ?"#, "no organization predicate");
    refuses(
        r#"SELECT t0."id" FROM "orders" AS t0 WHERE (t0."id" > ?)"#,
        "no organization predicate",
    );
    refuses(&after_find(r#" AND t0."organization_id" = ?"#), "a predicate too many");
}

#[test]
fn a_global_table_needs_none() {
    accepts(r#"SELECT t0."id" FROM "countries" AS t0"#, &[]);
    accepts(r#"SELECT t0."id" FROM "countries" AS t0 WHERE (t0."id" = ?)"#, &[]);
}

#[test]
fn names_ignore_ascii_case() {
    accepts(r#"SELECT t0."org" FROM "LINES" AS t0 WHERE t0."ORG" = ?"#, &[0]);
    refuses(
        r#"SELECT t0."id" FROM "LINES" AS t0 WHERE t0."org" = ? AND (t0."oRg" = ?)"#,
        "tenant column",
    );
}

#[test]
fn the_predicate_is_a_link_of_the_outermost_and() {
    let head = r#"SELECT t0."id" FROM "orders" AS t0 WHERE "#;
    accepts(&format!(r#"{head}t0."organization_id" = ? AND (t0."id" > ? OR t0."id" < ?)"#), &[0]);
    for rest in [
        r#"t0."organization_id" = ? OR t0."id" > ?"#,
        r#"t0."organization_id" = ? AND t0."id" > ? OR t0."id" > ?"#,
        r#"t0."id" = ? OR t0."id" = ? AND t0."organization_id" = ?"#,
        r#"(t0."organization_id" = ? OR t0."id" = ?)"#,
        r#"(t0."organization_id" = ?)"#,
        r#"(t0."organization_id" = ?) AND (t0."id" = ?)"#,
        r#"(t0."organization_id" = ? AND t0."id" = ?)"#,
        r#"(t0."id" = ?) AND t0."organization_id" = ?"#,
        r#"NOT t0."organization_id" = ?"#,
        r#"NOT (t0."organization_id" = ?)"#,
        r#"t0."organization_id" = ? IS NULL"#,
        r#"t0."organization_id" = ? = ?"#,
    ] {
        assert!(verdict(&format!("{head}{rest}"), Sqlite).is_err(), "{rest}");
        assert!(verdict(&format!("{head}{rest}"), Postgres).is_err(), "{rest}");
    }
}

#[test]
fn the_predicate_compares_the_tenant_column_with_a_placeholder() {
    let head = r#"SELECT t0."id" FROM "orders" AS t0 WHERE "#;
    for rest in [
        r#"t0."organization_id" = t0."id""#,
        r#"t0."organization_id" = t0."organization_id""#,
        r#"t0."organization_id" = 1"#,
        r#"t0."organization_id" = '7'"#,
        r#"t0."organization_id" = NULL"#,
        r#"t0."organization_id" = ? + ?"#,
        r#"t0."organization_id" = (?)"#,
        r#"t0."organization_id" <> ?"#,
        r#"t0."organization_id" >= ?"#,
        r#"t0."organization_id" IN (?)"#,
        r#"t0."organization_id" LIKE ? ESCAPE '\'"#,
        r#"t0."organization_id" BETWEEN ? AND ?"#,
        r#"t0."organization_id" IS NOT NULL"#,
        r#"t0."organization_id" = ? COLLATE "C""#,
        r#"? = t0."organization_id""#,
        r#"lower(t0."organization_id") = ?"#,
        r#"t0."organization" = ?"#,
        r#""organization_id" = ?"#,
    ] {
        for dialect in BOTH {
            assert!(verdict(&format!("{head}{rest}"), dialect).is_err(), "{dialect:?}: {rest}");
        }
    }
    let outer = r#"SELECT t0."id" FROM "orders" AS t0 WHERE t1."organization_id" = ?"#;
    refuses(outer, "WHERE");
}

// ---- user filters

#[test]
fn a_filter_is_one_parenthesis_at_the_end() {
    for filter in [
        r#"t0."a" = ?"#,
        r#"t0."a" <> ? AND t0."a" < ? AND t0."a" <= ? AND t0."a" > ? AND t0."a" >= ?"#,
        r#"t0."a" = t0."b" OR t0."a" = t0."b" + ? OR t0."a" = t0."b" - ?"#,
        r#"NOT (t0."a" = ?)"#,
        r#"(t0."a" = ? AND t0."b" = ?) OR (t0."c" = ?)"#,
        r#"(t0."a" BETWEEN ? AND ?)"#,
        r#"t0."a" IN (?, ?, t0."b")"#,
        "1 = 0",
        r#"t0."a" LIKE ? ESCAPE '\'"#,
        r#"t0."a" IS NULL AND t0."b" IS NOT NULL"#,
        r#"(t0."a" < ? OR t0."a" IS NULL OR (t0."a" = ? AND (t0."b" > ?)))"#,
    ] {
        accepts(&after_find(&format!(" AND ({filter})")), &[0]);
    }
    refuses(
        &after_find(r#" AND (t0."a" = ?) AND (t0."b" = ?)"#),
        "a condition outside parentheses",
    );
    refuses(&after_find(r#" AND t0."a" > ?"#), "a condition outside parentheses");
    refuses(&after_find(r#" AND (t0."a" = ? AND t0."b" = ? OR t0."c" = ?)"#), "mixes AND and OR");
}

#[test]
fn a_filter_does_not_name_the_tenant_column() {
    for filter in [
        r#"t0."organization_id" = ?"#,
        r#"t0."a" = t0."organization_id""#,
        r#"t0."a" = ? OR t0."ORGANIZATION_ID" = ?"#,
        r#"NOT (t0."organization_id" = ?)"#,
        r#"t0."organization_id" IN (?)"#,
        r#"t0."organization_id" IS NULL"#,
        r#"t0."a" IN (?, t0."organization_id")"#,
        r#"t0."a" = t0."organization_id" + ?"#,
        r#"t0."organization_id" IN (SELECT t1."id" FROM "countries" AS t1)"#,
    ] {
        refuses(&after_find(&format!(" AND ({filter})")), "the tenant column stands in WHERE");
    }
}

#[test]
fn a_filter_has_no_literals_and_no_functions() {
    for filter in [
        r#"t0."a" = 1"#,
        r#"t0."a" = 'x'"#,
        r#"t0."a" = NULL"#,
        r#"t0."a" = TRUE"#,
        r#"t0."a" IN (1)"#,
        r#"t0."a" IN ()"#,
        r#"t0."a" = -?"#,
        r#"t0."a" = lower(t0."b")"#,
        "count(*) > ?",
        "load_extension(?) = ?",
        "1 = 1",
        "0 = 0",
        "1",
        "?",
        r#"t0."a""#,
        r#"t0."a" || ? = ?"#,
        r#"t0."a" * ? = ?"#,
        r#"t0."a" LIKE ?"#,
        r#"t0."a" LIKE ? ESCAPE 'x'"#,
        r#"t0."a" NOT LIKE ? ESCAPE '\'"#,
        r#"t0."a" ILIKE ? ESCAPE '\'"#,
        r#"t0."a" NOT IN (?)"#,
        r#"t0."a" NOT BETWEEN ? AND ?"#,
        r#"t0."a" IS ?"#,
        r#"CASE WHEN t0."a" = ? THEN ? END = ?"#,
        r#"CAST(t0."a" AS TEXT) = ?"#,
        r#"t0."a" = (SELECT t1."id" FROM "countries" AS t1)"#,
        r#"(t0."a", t0."b") = (?, ?)"#,
    ] {
        for dialect in BOTH {
            let sql = after_find(&format!(" AND ({filter})"));
            assert!(verdict(&sql, dialect).is_err(), "{dialect:?}: {sql}");
        }
    }
}

#[test]
fn every_column_is_quoted_and_qualified_by_a_visible_alias() {
    for filter in [
        r#""a" = ?"#,
        "a = ?",
        "t0.a = ?",
        r#""t0"."a" = ?"#,
        r#""orders"."a" = ?"#,
        r#"t1."a" = ?"#,
        r#"T0."a" = ?"#,
        r#"main.t0."a" = ?"#,
        r#"excluded."a" = ?"#,
    ] {
        for dialect in BOTH {
            let sql = after_find(&format!(" AND ({filter})"));
            assert!(verdict(&sql, dialect).is_err(), "{dialect:?}: {sql}");
        }
    }
}
