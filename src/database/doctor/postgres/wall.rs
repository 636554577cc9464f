//! Row-level security and the privileges of a declared table.

use super::catalog::{Policy, quoted};
use super::policy::{Verdict, is_early, judge};
use super::rights::Access;
use super::{Table, rules};
use crate::database::doctor::rules::Rule;
use crate::id::OrganizationKind;
use crate::table::postgres::{
    ACROSS, BASE, WALL, create_across, create_base, create_wall, force_row_security, grants,
};

pub(super) fn examine(table: &mut Table<'_, '_>) {
    let (relation, name) = (table.relation, table.name());
    let roles = table.doctor.schema.roles().clone();
    if table.doctor.is_bound() {
        if relation.access.owned {
            table.doctor.find_for_superuser(
                &rules::PG_ROLE_OWNS,
                name,
                format!("the table belongs to `{}`", relation.owner),
                vec![format!(
                    "ALTER TABLE {} OWNER TO {}",
                    relation.sql(),
                    quoted(roles.owner_name())
                )],
            );
        }
        privileges(table);
    }
    if table.doctor.catalog.across.as_ref().is_some_and(|across| !across.superuser) {
        across(table);
    }
    let Some(tenant) = table.definition.tenant_column() else { return };
    let force = || vec![force_row_security(name)];
    if !relation.row_security {
        table.find(&rules::PG_SECURITY_OFF, name, "row-level security is off", force());
    } else if !relation.forced {
        let advice = "row-level security does not bind the owner";
        table.find(&rules::PG_SECURITY_NOT_FORCED, name, advice, force());
    }
    let applying: Vec<&Policy> = relation.policies.iter().filter(|policy| policy.applies).collect();
    let restrictive = |policy: &&&Policy| !policy.permissive && policy.all;
    let kind = table.doctor.schema.organization_kind();
    let mut worst: Option<Defect> = None;
    // Restrictive policies all hold: the best one is the wall.
    for policy in applying.iter().filter(restrictive) {
        let defect = defect(policy, tenant, kind);
        match (&worst, defect) {
            (_, None) => {
                worst = None;
                break;
            }
            (Some(known), Some(found)) if known.rank <= found.rank => {}
            (_, Some(found)) => worst = Some(found),
        }
    }
    let build = create_wall(name, tenant, kind, &roles);
    let drop =
        |policy: &str| format!("DROP POLICY IF EXISTS {} ON {}", quoted(policy), quoted(name));
    if let Some(Defect { rule, policy, .. }) = worst {
        let object = table.under(&policy);
        let mut remedy = vec![drop(&policy)];
        if policy != WALL {
            remedy.push(drop(WALL));
        }
        remedy.push(build);
        let advice = "the remedy replaces the policy";
        table.find(rule, object, advice, remedy);
    } else if !applying.iter().any(|policy| restrictive(&policy)) {
        let walls = |policy: &&&Policy| {
            policy.permissive
                && policy
                    .using
                    .as_deref()
                    .is_some_and(|text| judge(text, tenant, kind) == Verdict::Sound)
        };
        let advice = "the remedy makes the wall";
        match applying.iter().find(walls).map(|policy| policy.name.clone()) {
            Some(policy) => {
                let remedy =
                    vec![drop(&policy), drop(WALL), drop(BASE), build, create_base(name, &roles)];
                table.find(&rules::PG_POLICY_PERMISSIVE, table.under(&policy), advice, remedy);
            }
            None => {
                table.find(&rules::PG_POLICY_ABSENT, name, advice, vec![drop(WALL), build]);
            }
        }
    }
    if !applying.iter().any(|policy| policy.permissive && policy.all) {
        let remedy = vec![drop(BASE), create_base(name, &roles)];
        table.find(&rules::PG_BASE_ABSENT, name, "no permissive policy is for the role", remedy);
    }
    across_policy(table);
    for policy in &applying {
        let known = [BASE, ACROSS].contains(&policy.name.as_str());
        let is_wall =
            policy.using.as_deref().is_some_and(|text| judge(text, tenant, kind) == Verdict::Sound);
        if policy.permissive && !known && !is_wall {
            let object = table.under(&policy.name);
            let advice = "a permissive policy that no declaration names applies to the role";
            table.find(&rules::PG_POLICY_EXTRA, object, advice, vec![drop(&policy.name)]);
        }
        let early = |text: &str| is_early(text, tenant, kind, relation.partitioned.is_some());
        if policy.using.as_deref().is_some_and(early) {
            table.doctor.alone = false;
            let object = table.under(&policy.name);
            let advice = "build the policy of columns and constants, or in the form of the declared one, or drop it";
            table.find(&rules::PG_POLICY_EARLY, object, advice, Vec::new());
        }
    }
}

/// The policy that lets the cross-tenant role see every row. A restrictive policy that is for that
/// role too would take from it what this one gives.
fn across_policy(table: &mut Table<'_, '_>) {
    let (relation, name) = (table.relation, table.name());
    let roles = table.doctor.schema.roles().clone();
    let role = roles.cross_tenant_name();
    let concerns = |policy: &&Policy| {
        policy.roles.is_empty() || policy.roles.iter().any(|named| named == role)
    };
    let is_open = |text: &Option<String>| text.as_deref().is_none_or(|text| text == "true");
    let opens = |policy: &Policy| {
        policy.permissive
            && policy.reads
            && policy.roles.iter().any(|named| named == role)
            && policy.using.is_some()
            && is_open(&policy.using)
            && is_open(&policy.check)
    };
    let concerning = || relation.policies.iter().filter(concerns);
    let restricts = |policy: &&Policy| !policy.permissive;
    let mut remedy: Vec<String> = concerning()
        .filter(restricts)
        .map(|policy| {
            let roles = quoted(roles.application_name());
            format!("ALTER POLICY {} ON {} TO {roles}", quoted(&policy.name), quoted(name))
        })
        .collect();
    if !concerning().any(opens) {
        remedy.push(format!("DROP POLICY IF EXISTS {} ON {}", quoted(ACROSS), quoted(name)));
        remedy.push(create_across(name, &roles));
    }
    if !remedy.is_empty() {
        let advice = format!("no policy shows every row to `{role}`, or one hides some from it");
        table.find(&rules::PG_ACROSS_ABSENT, name, advice, remedy);
    }
}

struct Defect {
    rank: u8,
    rule: &'static Rule,
    policy: String,
}

/// What keeps a restrictive policy from being the wall.
fn defect(policy: &Policy, tenant: &str, kind: OrganizationKind) -> Option<Defect> {
    let judge = |text| judge(text, tenant, kind);
    let using = policy.using.as_deref().map_or(Verdict::FailsOpen, judge);
    let check = policy.check.as_deref().map(judge);
    let (rank, rule) = match (using, check) {
        (Verdict::FailsOpen, _) | (_, Some(Verdict::FailsOpen)) => (4, &rules::PG_POLICY_FAIL_OPEN),
        (Verdict::Unreadable, _) | (_, Some(Verdict::Unreadable)) => {
            (3, &rules::PG_POLICY_UNREADABLE)
        }
        (Verdict::Converts, _) | (_, Some(Verdict::Converts)) => (2, &rules::PG_POLICY_CONVERTS),
        (_, None) => (1, &rules::PG_POLICY_WITHOUT_CHECK),
        (Verdict::PerRow, _) | (_, Some(Verdict::PerRow)) => (1, &rules::PG_POLICY_PER_ROW),
        (Verdict::Sound, Some(Verdict::Sound)) => return None,
    };
    Some(Defect { rank, rule, policy: policy.name.clone() })
}

/// What the connected role may do with the table.
fn privileges(table: &mut Table<'_, '_>) {
    let (relation, name) = (table.relation, table.name());
    let is_tenant = table.definition.tenant_column().is_some();
    let remedy = regrant(table);
    let access = &relation.access;
    // What comes of owning the table is named above.
    if !access.owned {
        let excess = held(access, &EXCESS);
        if !excess.is_empty() {
            let advice = format!("the role holds {excess}");
            table.find(&rules::PG_GRANT, name, advice, remedy.clone());
        }
        let writes = held(access, &WRITES);
        if !is_tenant && !writes.is_empty() {
            let advice = format!("the role holds {writes} on a global table");
            table.find(&rules::PG_GLOBAL_WRITABLE, name, advice, remedy.clone());
        }
    }
    let needed: &[&str] =
        if is_tenant { &["SELECT", "INSERT", "UPDATE", "DELETE"] } else { &["SELECT"] };
    let missing: Vec<&str> =
        needed.iter().copied().filter(|privilege| !relation.may(privilege)).collect();
    if !missing.is_empty() {
        let advice = format!("the role lacks {}", missing.join(", "));
        table.find(&rules::PG_GRANT_MISSING, name, advice, remedy);
    }
}

/// What the cross-tenant role may do with the table.
fn across(table: &mut Table<'_, '_>) {
    let (relation, roles) = (table.relation, table.doctor.schema.roles());
    let across = roles.cross_tenant_name();
    let object = format!("{across}/{}", table.name());
    let access = &relation.across;
    if access.owned {
        let owner = quoted(roles.owner_name());
        let remedy = vec![format!("ALTER TABLE {} OWNER TO {owner}", relation.sql())];
        let advice = format!("the table belongs to `{}`", relation.owner);
        table.doctor.find_for_superuser(&rules::PG_ROLE_OWNS, object, advice, remedy);
        return;
    }
    let remedy = regrant(table);
    let excess = held(access, &EXCESS);
    if !excess.is_empty() {
        let advice = format!("`{across}` holds {excess}");
        table.find(&rules::PG_GRANT, object.as_str(), advice, remedy.clone());
    }
    let writes = held(access, &WRITES);
    if table.definition.tenant_column().is_some() && !writes.is_empty() {
        let advice = format!("`{across}` holds {writes}, and reads alone");
        table.find(&rules::PG_CROSS_TENANT_WRITES, object, advice, remedy);
    }
}

const EXCESS: [&str; 4] = ["TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"];
const WRITES: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

fn held(access: &Access, wanted: &[&str]) -> String {
    let held = access.privileges.iter().map(String::as_str);
    held.filter(|privilege| wanted.contains(privilege)).collect::<Vec<_>>().join(", ")
}

/// The declared grants, and no others: those to roles of which ours are members go too.
fn regrant(table: &Table<'_, '_>) -> Vec<String> {
    let mut statements = grants(table.definition, table.doctor.schema.roles());
    let revoke = table.doctor.revoke_all(table.relation);
    statements.splice(0..1, [revoke]);
    statements
}
