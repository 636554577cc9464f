//! Subqueries.

use super::*;

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
