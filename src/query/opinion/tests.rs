//! Each rule with a statement that keeps it and one that breaks it, in both dialects.

use super::{Judged, judge};
use crate::table::Dialect::{self, Postgres, Sqlite};

const BOTH: [Dialect; 2] = [Sqlite, Postgres];

fn known(name: &str) -> Option<Option<&'static str>> {
    match name.to_ascii_lowercase().as_str() {
        "orders" => Some(Some("organization_id")),
        "lines" => Some(Some("Org")),
        "countries" => Some(None),
        _ => None,
    }
}

/// `?` as the dialect writes it.
fn written(sql: &str, dialect: Dialect) -> String {
    let mut text = String::new();
    for (index, piece) in sql.split('?').enumerate() {
        match (index, dialect) {
            (0, _) => {}
            (_, Sqlite) => text.push('?'),
            (_, Postgres) => text.push_str(&format!("${index}")),
        }
        text.push_str(piece);
    }
    text
}

fn verdict(sql: &str, dialect: Dialect) -> Result<Judged, String> {
    judge(&written(sql, dialect), dialect, &known)
}

#[track_caller]
fn accepts_in(dialect: Dialect, sql: &str, organization: &[usize]) {
    let expected =
        Judged { organization: organization.to_vec(), placeholders: sql.matches('?').count() };
    assert_eq!(verdict(sql, dialect), Ok(expected), "{dialect:?}: {sql}");
}

#[track_caller]
fn accepts(sql: &str, organization: &[usize]) {
    BOTH.into_iter().for_each(|dialect| accepts_in(dialect, sql, organization));
}

#[track_caller]
fn refuses_in(dialect: Dialect, sql: &str, reason: &str) {
    let refusal = verdict(sql, dialect).expect_err(sql);
    assert!(refusal.contains(reason), "{dialect:?}: {sql}\n{refusal}");
}

#[track_caller]
fn refuses(sql: &str, reason: &str) {
    BOTH.into_iter().for_each(|dialect| refuses_in(dialect, sql, reason));
}

const FIND: &str =
    r#"SELECT t0."organization_id", t0."id" FROM "orders" AS t0 WHERE t0."organization_id" = ?"#;
const JOIN: &str = r#"SELECT t0."organization_id", t1."Org" FROM "orders" AS t0 LEFT JOIN "lines" AS t1 ON t1."Org" = ? AND t1."Org" = t0."organization_id" AND t1."order_id" = t0."id" WHERE t0."organization_id" = ?"#;
const INSERT: &str =
    r#"INSERT INTO "orders" AS t0 ("organization_id", "id", "note") VALUES (?, ?, ?)"#;

fn after_find(rest: &str) -> String {
    format!("{FIND}{rest}")
}

fn after_insert(rest: &str) -> String {
    format!("{INSERT}{rest}")
}

// ---- the predicate of the base table

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

// ---- joins

#[test]
fn a_joined_table_needs_its_predicate_in_on() {
    accepts(JOIN, &[0, 1]);
    accepts(&JOIN.replace("LEFT JOIN", "INNER JOIN"), &[0, 1]);
    accepts(&format!(r#"{JOIN} AND (t1."id" IS NULL)"#), &[0, 1]);
    refuses(
        &JOIN.replace(r#"t1."Org" = ? AND "#, ""),
        "`lines` as `t1`: ON has no organization predicate",
    );
    let moved = JOIN.replace(r#"t1."Org" = ? AND "#, "") + r#" AND t1."Org" = ?"#;
    refuses(&moved, "ON has no organization predicate");
    refuses(&format!(r#"{JOIN} AND t1."Org" = ?"#), "WHERE has a predicate too many");
    refuses(
        &JOIN.replace(r#" WHERE t0."organization_id" = ?"#, ""),
        "`orders` as `t0`: WHERE has no",
    );
}

#[test]
fn the_predicate_of_on_is_of_the_joined_alias() {
    refuses(
        &JOIN.replace(r#"ON t1."Org" = ?"#, r#"ON t0."organization_id" = ?"#),
        "ON has a predicate too many",
    );
    refuses(&JOIN.replace(r#"t1."Org" = ? AND"#, r#"(t1."Org" = ?) AND"#), "outside parentheses");
    refuses(&JOIN.replace(r#"t1."Org" = ? AND"#, r#"t1."Org" = ? OR"#), "outside parentheses");
    refuses(
        &JOIN.replace(r#"t1."Org" = ? AND"#, r#"t1."Org" = t1."Org" AND"#),
        "no table that it may be tied to",
    );
    refuses(
        &JOIN.replace(r#"t1."Org" = ? AND"#, r#"t1."Org" = 1 AND"#),
        "no table that it may be tied to",
    );
    refuses(
        &JOIN.replace(r#"t1."Org" = ? AND"#, r#"t1."Org" = ? AND t1."a" = ? AND"#),
        "no table that",
    );
    let user = JOIN.replace(" WHERE", r#" AND (t1."a" = ?) WHERE"#);
    refuses(&user, "outside parentheses");
}

#[test]
fn an_edge_compares_the_tenant_columns() {
    let tie = r#"t1."Org" = t0."organization_id""#;
    accepts(&JOIN.replace(tie, r#"t0."organization_id" = t1."Org""#), &[0, 1]);
    refuses(
        &JOIN.replace(&format!("{tie} AND "), ""),
        "does not compare the tenant column with `t0`",
    );
    refuses(
        &JOIN.replace(r#" AND t1."order_id" = t0."id""#, ""),
        "joins the table to none before it",
    );
    refuses(
        &JOIN.replace(tie, r#"t1."Org" = t0."id""#),
        "compares a tenant column with another column",
    );
    refuses(&JOIN.replace(tie, r#"t1."id" = t0."organization_id""#), "with another column");
    refuses(&JOIN.replace(tie, r#"t1."Org" < t0."organization_id""#), "outside parentheses");
}

#[test]
fn a_table_joins_only_tables_before_it() {
    let three = |on: &str| {
        format!(
            r#"SELECT t0."id" FROM "orders" AS t0 INNER JOIN "lines" AS t1 ON t1."Org" = ? AND {on} INNER JOIN "orders" AS t2 ON t2."organization_id" = ? AND t2."organization_id" = t1."Org" AND t2."id" = t1."parent" WHERE t0."organization_id" = ?"#
        )
    };
    accepts(&three(r#"t1."Org" = t0."organization_id" AND t1."o" = t0."id""#), &[0, 1, 2]);
    refuses(
        &three(r#"t1."Org" = t2."organization_id" AND t1."o" = t2."id""#),
        "no table that it may be tied to",
    );
    refuses(
        &three(r#"t1."Org" = t0."organization_id" AND t1."o" = t0."id" AND t1."p" = t2."id""#),
        "no table that it may be tied to",
    );
    refuses(&three(r#"t0."id" = t0."parent""#), "no table that it may be tied to");
}

#[test]
fn global_tables_join_without_a_predicate() {
    accepts(
        r#"SELECT t0."organization_id", t1."name" FROM "orders" AS t0 INNER JOIN "countries" AS t1 ON t0."country" = t1."id" WHERE t0."organization_id" = ?"#,
        &[0],
    );
    let child = r#"SELECT t1."organization_id" FROM "countries" AS t0 LEFT JOIN "orders" AS t1 ON t1."organization_id" = ? AND t1."country" = t0."id""#;
    accepts(child, &[0]);
    refuses(
        &child.replace(r#"t1."organization_id" = ? AND "#, ""),
        "ON has no organization predicate",
    );
    refuses(
        r#"SELECT t0."id" FROM "countries" AS t0 INNER JOIN "orders" AS t1 ON t1."organization_id" = ?"#,
        "joins the table to none before it",
    );
}

#[test]
fn other_joins_do_not_exist() {
    for join in ["RIGHT JOIN", "FULL JOIN", "LEFT OUTER JOIN", "JOIN", "NATURAL JOIN"] {
        let sql = JOIN.replace("LEFT JOIN", join);
        BOTH.into_iter().for_each(|dialect| assert!(verdict(&sql, dialect).is_err(), "{sql}"));
    }
    let head = r#"SELECT t0."id" FROM "orders" AS t0"#;
    for join in [
        r#" CROSS JOIN "countries" AS t1"#,
        r#", "countries" AS t1"#,
        r#" INNER JOIN "countries" AS t1"#,
        r#" INNER JOIN "countries" AS t1 USING ("id")"#,
        r#" NATURAL JOIN "countries" AS t1"#,
        r#" INNER JOIN (SELECT 1 AS "one") AS w ON w."one" = t0."id""#,
        r#" INNER JOIN ("countries" AS t1) ON t1."id" = t0."id""#,
        r#" INNER JOIN LATERAL (SELECT 1 AS "one") AS w ON w."one" = t0."id""#,
    ] {
        let sql = format!(r#"{head}{join} WHERE t0."organization_id" = ?"#);
        BOTH.into_iter().for_each(|dialect| assert!(verdict(&sql, dialect).is_err(), "{sql}"));
    }
}

#[test]
fn a_table_joined_to_itself_has_a_predicate_for_each_alias() {
    let sql = r#"SELECT t0."organization_id" FROM "orders" AS t0 INNER JOIN "orders" AS t1 ON t1."organization_id" = ? AND t0."organization_id" = t1."organization_id" AND t0."parent" = t1."id" WHERE t0."organization_id" = ?"#;
    accepts(sql, &[0, 1]);
    refuses(
        &sql.replace(r#"ON t1."organization_id" = ?"#, r#"ON t0."organization_id" = ?"#),
        "too many",
    );
    refuses(
        &sql.replace(r#"WHERE t0."organization_id""#, r#"WHERE t1."organization_id""#),
        "too many",
    );
    refuses(&sql.replace("t1", "t0"), "the alias occurs twice");
}

// ---- subqueries

const MEMBERS: &str = r#" AND (t0."id" IN (SELECT t1."order_id" FROM "lines" AS t1 WHERE t1."Org" = ? AND (t1."qty" > ?)))"#;
const EXISTS: &str = r#" AND (EXISTS (SELECT 1 FROM "lines" AS t1 WHERE t1."Org" = ? AND t1."Org" = t0."organization_id" AND t1."order_id" = t0."id" AND (t1."qty" > ?)))"#;

#[test]
fn a_subquery_of_in_has_its_own_predicate() {
    accepts(&after_find(MEMBERS), &[0, 1]);
    refuses(
        &after_find(&MEMBERS.replace(r#"t1."Org" = ? AND "#, "")),
        "`lines` as `t1`: WHERE has no",
    );
    refuses(
        &after_find(&MEMBERS.replace(r#"t1."Org" = ?"#, r#"t0."organization_id" = ?"#)),
        "WHERE",
    );
    refuses(
        &after_find(&MEMBERS.replace(r#"(t1."qty""#, r#"(t0."qty""#)),
        "of this select was expected",
    );
    refuses(
        &after_find(&MEMBERS.replace(r#"(t1."qty" > ?)"#, r#"t1."o" = t0."id""#)),
        "no table that",
    );
    refuses(
        &after_find(&MEMBERS.replace(r#"t1."order_id""#, r#"t1."Org""#)),
        "the tenant column stands in SELECT",
    );
    refuses(
        &after_find(&MEMBERS.replace(r#"t1."order_id""#, r#"t1."a", t1."b""#)),
        "selects one column",
    );
    refuses(&after_find(&MEMBERS.replace(r#"t1."order_id""#, "*")), "not understood");
    refuses(&after_find(&MEMBERS.replace("t1", "t0")), "the alias occurs twice");
    refuses(&after_find(&MEMBERS.replace(" IN ", " NOT IN ")), "not understood");
}

#[test]
fn a_subquery_of_exists_is_tied_to_the_outer_tenant() {
    accepts(&after_find(EXISTS), &[0, 1]);
    refuses(
        &after_find(&EXISTS.replace(r#"t1."Org" = ? AND "#, "")),
        "`lines` as `t1`: WHERE has no",
    );
    refuses(
        &after_find(&EXISTS.replace(r#"t1."Org" = t0."organization_id" AND "#, "")),
        "`lines` as `t1`: WHERE does not compare the tenant column with `t0`",
    );
    refuses(
        &after_find(&EXISTS.replace(r#"t1."Org" = ?"#, r#"t0."organization_id" = ?"#)),
        "of this select was expected",
    );
    refuses(&after_find(&EXISTS.replace("SELECT 1", r#"SELECT t1."id""#)), "`1` was expected");
    refuses(&after_find(&EXISTS.replace("EXISTS", "NOT EXISTS")), "not understood");
    accepts(
        &after_find(&EXISTS.replace("(EXISTS", "(NOT (EXISTS").replace(" > ?)))", " > ?))))")),
        &[0, 1],
    );
    refuses(
        &after_find(&EXISTS.replace(r#"(t1."qty" > ?)"#, r#"(t1."qty" > t0."qty")"#)),
        "of this select",
    );
    let alone = r#" AND (EXISTS (SELECT 1 FROM "lines" AS t1 WHERE t1."Org" = ?))"#;
    accepts(&after_find(alone), &[0, 1]);
}

#[test]
fn subqueries_nest_and_see_one_select_outward() {
    let nested = |to: &str| {
        let inner = format!(
            r#"EXISTS (SELECT 1 FROM "orders" AS t2 WHERE t2."organization_id" = ? AND {to} AND (t2."a" = ?))"#
        );
        after_find(&EXISTS.replace(r#"t1."qty" > ?"#, &inner))
    };
    accepts(&nested(r#"t2."organization_id" = t1."Org" AND t2."id" = t1."o""#), &[0, 1, 2]);
    refuses(
        &nested(r#"t2."organization_id" = t0."organization_id" AND t2."id" = t0."id""#),
        "no table that",
    );
    refuses(&nested(r#"t2."id" = t1."o""#), "with `t1`");
}

#[test]
fn writes_have_judged_subqueries() {
    let update =
        format!(r#"UPDATE "orders" AS t0 SET "a" = ? WHERE t0."organization_id" = ?{EXISTS}"#);
    accepts(&update, &[1, 2]);
    refuses(&update.replace(r#"t1."Org" = ? AND "#, ""), "`t1`: WHERE has no");
    let delete = format!(r#"DELETE FROM "orders" AS t0 WHERE t0."organization_id" = ?{MEMBERS}"#);
    accepts(&delete, &[0, 1]);
    refuses(&delete.replace(r#"t1."Org" = ? AND "#, ""), "`t1`: WHERE has no");
}

#[test]
fn a_derived_table_counts_witnesses() {
    let sql = r#"SELECT min(w."w0"), count(*) FROM (SELECT t0."organization_id" = ? AS "w0", 1 AS "one" FROM "orders" AS t0 WHERE t0."organization_id" = ? AND (t0."a" = ?) ORDER BY t0."id" LIMIT ? OFFSET ?) AS w"#;
    accepts(sql, &[0, 1]);
    accepts_in(Postgres, &sql.replace("min(", "bool_and("), &[0, 1]);
    refuses(&sql.replace(r#"WHERE t0."organization_id" = ? AND (t0."a" = ?)"#, ""), "WHERE has no");
    refuses(
        &sql.replace(r#"t0."organization_id" = ? AS"#, r#"t0."organization_id" AS"#),
        "`1` was expected",
    );
    refuses(&sql.replace(r#"w."w0""#, r#"w."w1""#), "of this select was expected");
    refuses(&sql.replace(r#"w."w0""#, r#"t0."id""#), "of this select was expected");
    refuses(&sql.replace("AS w", "AS t1"), "an alias is");
    refuses(&sql.replace(r#"1 AS "one""#, "1"), "has no name");
    refuses(&sql.replace("(SELECT t0", "LATERAL (SELECT t0"), "");
    let joined = format!(r#"{sql} INNER JOIN "countries" AS t1 ON t1."id" = w."one""#);
    refuses(&joined, "a derived table is not joined");
    let inside = sql.replace("t0", "t1").replace("SELECT min(w.\"w0\"), count(*)", "SELECT 1");
    refuses(&after_find(&format!(" AND (EXISTS ({inside}))")), "FROM names something else");
}

// ---- outputs

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

// ---- writes

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

// ---- size

#[test]
fn long_statements_are_judged() {
    let members = vec!["?"; 32_765].join(", ");
    accepts(&after_find(&format!(r#" AND (t0."id" IN ({members}))"#)), &[0]);
    let rows: Vec<usize> = (0..1000).map(|row| row * 3).collect();
    accepts(&after_insert(&", (?, ?, ?)".repeat(999)), &rows);
}

#[test]
fn depth_is_limited_before_the_stack_ends() {
    let deep = |levels: usize| {
        let (open, close) = ("NOT (".repeat(levels), ")".repeat(levels));
        after_find(&format!(r#" AND ({open}t0."a" = ?{close})"#))
    };
    let chain = |links: usize| {
        let more = r#" OR t0."a" = ?"#.repeat(links);
        after_find(&format!(r#" AND (t0."a" = ?{more})"#))
    };
    accepts(&deep(280), &[0]);
    let subqueries: String = (1..=140)
        .map(|n| format!(r#"EXISTS (SELECT 1 FROM "lines" AS t{n} WHERE t{n}."Org" = ? AND ("#))
        .collect();
    let sql = after_find(&format!(" AND ({subqueries}1 = 0{})", "))".repeat(140)));
    accepts(&sql, &(0..=140).collect::<Vec<_>>());
    refuses(&deep(5_000), "nests too deep");
    accepts(&chain(400), &[0]);
    refuses(&chain(5_000), "too long to judge");
    refuses(&after_find(&format!(" AND ({}t0.\"a\")", "NOT ".repeat(5_000))), "");
    refuses(&after_find(&" IS NULL".repeat(5_000)), "too long to judge");
}
