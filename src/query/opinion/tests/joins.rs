//! Joined tables.

use super::*;

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
