//! The server, the roles, and what they may do beyond tables.

use super::catalog::quoted;
use super::rights::{Role, Server};
use super::{Doctor, rules};
use crate::database::doctor::report::{Finding, Severity};
use crate::table::postgres::{SETTING, ground};

/// The first minor of each version without CVE-2025-8713.
const MENDED: [i32; 3] = [150_014, 160_010, 170_006];

pub(super) fn examine_server(server: &Server, findings: &mut Vec<Finding>) {
    let (major, minor) = (server.version / 10_000, server.version % 10_000);
    if major < 15 {
        findings.push(Finding::new(&rules::PG_SERVER_OLD, "server").with_advice(format!(
            "the server is PostgreSQL {major}.{minor}: 15 is the first that is served"
        )));
    } else if let Some(mended) = MENDED.iter().find(|mended| **mended / 10_000 == major)
        && server.version < *mended
    {
        findings.push(Finding::new(&rules::PG_SERVER_LEAKS, "server").with_advice(format!(
            "the server is PostgreSQL {major}.{minor}: update to {major}.{}",
            mended % 10_000
        )));
    }
}

pub(super) fn examine(doctor: &mut Doctor<'_>) {
    let catalog = doctor.catalog;
    let application = doctor.schema.roles().application_name();
    if catalog.role.name != application {
        let advice =
            format!("connect as `{application}`, or name this role with `Schema::postgres_roles`");
        doctor.find(&rules::PG_ROLE_OTHER, &catalog.role.name, advice, Vec::new());
    }
    settings(doctor);
    rights(doctor, &catalog.role);
    if let Some(across) = &catalog.across {
        rights(doctor, across);
    }
}

/// What is set for the connected role before anybody sets it.
fn settings(doctor: &mut Doctor<'_>) {
    let (server, path) = (&doctor.catalog.server, &doctor.catalog.path);
    let (role, sql_role) = (server.role.as_str(), quoted(&server.role));
    let database = quoted(&server.database);
    // A setting of the role in a database stands before one of the role or the database.
    let reset = |setting: &str| {
        vec![
            format!("ALTER ROLE {sql_role} IN DATABASE {database} RESET {setting}"),
            format!("ALTER ROLE {sql_role} RESET {setting}"),
            format!("ALTER DATABASE {database} RESET {setting}"),
        ]
    };
    const ELSEWHERE: &str =
        "look into the server's configuration, every event trigger on login and the URL too";
    if !server.organization.is_empty() {
        let advice = format!("`{SETTING}` has a value before anybody set it; {ELSEWHERE}");
        let remedy = reset(&quoted(SETTING));
        doctor.find_for_superuser(&rules::PG_ORGANIZATION_PRESET, role, advice, remedy);
    }
    if !path.is_sound() {
        let schemas: Vec<String> = path.schemas().map(quoted).collect();
        let remedy = vec![format!(
            "ALTER ROLE {sql_role} IN DATABASE {database} SET search_path TO {}",
            schemas.join(", ")
        )];
        let advice =
            format!("`pg_catalog` stands behind other schemas in the `search_path`; {ELSEWHERE}");
        doctor.find_for_superuser(&rules::PG_SEARCH_PATH, role, advice, remedy);
    }
    if server.replication != "origin" {
        let advice = format!(
            "`session_replication_role` is `{}`, which turns foreign keys off; {ELSEWHERE}",
            server.replication
        );
        let remedy = reset("session_replication_role");
        doctor.find_for_superuser(&rules::PG_REFERENCE_UNENFORCED, role, advice, remedy);
    }
}

fn rights(doctor: &mut Doctor<'_>, role: &Role) {
    let (catalog, roles) = (doctor.catalog, doctor.schema.roles());
    let (name, sql_role) = (role.name.as_str(), quoted(&role.name));
    let is_connected = name == catalog.server.role;
    if role.superuser || role.bypasses {
        let advice = if is_connected {
            "connect as the application role, or take the rights from this one"
        } else {
            "the cross-tenant role is exempt by its own policies, which name it, and by nothing else"
        };
        let remedy = vec![format!("ALTER ROLE {sql_role} NOSUPERUSER NOBYPASSRLS")];
        doctor.find_for_superuser(&rules::PG_ROLE_EXEMPT, name, advice, remedy);
    }
    if role.administers {
        let remedy = vec![format!("ALTER ROLE {sql_role} NOCREATEROLE NOREPLICATION")];
        let advice = "the role has CREATEROLE or REPLICATION";
        doctor.find_for_superuser(&rules::PG_ROLE_ADMINISTERS, name, advice, remedy);
    }
    if role.superuser {
        return;
    }
    memberships(doctor, role);
    // The findings of the connected role are named after what it may do something with.
    let at = |object: &str| match is_connected {
        true => object.to_owned(),
        false => format!("{name}/{object}"),
    };
    let owner = quoted(roles.owner_name());
    let database = catalog.server.database.as_str();
    let revoke = |privilege: &str, on: &str, grantees: &[String]| {
        let from: Vec<String> = grantees.iter().map(|grantee| quoted(grantee)).collect();
        (!from.is_empty()).then(|| format!("REVOKE {privilege} ON {on} FROM {}", from.join(", ")))
    };
    let mut ground = vec![ground(roles)];
    let on_database = format!("DATABASE {}", quoted(database));
    ground.extend(revoke("TEMPORARY, CREATE", &on_database, &role.grantees));
    if role.owns_database {
        let remedy = vec![format!("ALTER {on_database} OWNER TO {owner}")];
        let advice =
            format!("the database belongs to `{name}`, or to a role that it is a member of");
        doctor.find_for_superuser(&rules::PG_ROLE_OWNS, at(database), advice, remedy);
    }
    if role.temporary {
        let advice =
            "the role may create temporary tables; the remedy is for the owner of the database";
        doctor.find(&rules::PG_GRANT_TEMPORARY, at(database), advice, ground.clone());
    }
    if role.creates_schemas {
        let advice = "the role may create schemas; the remedy is for the owner of the database";
        doctor.find(&rules::PG_GRANT_CREATE, at(database), advice, ground);
    }
    for schema in &role.schemas {
        let on_schema = format!("SCHEMA {}", quoted(&schema.name));
        if schema.owned {
            let remedy = vec![format!("ALTER {on_schema} OWNER TO {owner}")];
            let advice =
                format!("the schema belongs to `{name}`, or to a role that it is a member of");
            doctor.find_for_superuser(&rules::PG_ROLE_OWNS, at(&schema.name), advice, remedy);
        } else {
            let mut remedy = vec![format!("REVOKE CREATE ON {on_schema} FROM PUBLIC, {sql_role}")];
            remedy.extend(revoke("CREATE", &on_schema, &schema.grantees));
            let advice = "the role may create in the schema";
            doctor.find(&rules::PG_GRANT_CREATE, at(&schema.name), advice, remedy);
        }
    }
}

fn memberships(doctor: &mut Doctor<'_>, role: &Role) {
    let (catalog, roles) = (doctor.catalog, doctor.schema.roles());
    let name = role.name.as_str();
    let named = [roles.owner_name(), roles.application_name(), roles.cross_tenant_name()];
    for membership in &role.memberships {
        let other = membership.role.as_str();
        let owns = catalog.relations.iter().any(|relation| relation.owner == other);
        let reaches = catalog.relations.iter().any(|relation| {
            membership.reaches.contains(&relation.oid) && doctor.is_tenant(relation)
        });
        let is_fatal = membership.exempt || owns || reaches || named.contains(&other);
        let grants = membership.via.iter().zip(&membership.grantors);
        let remedy = grants.map(|(role, grantor)| {
            let by = grantor.as_deref().map(|grantor| format!(" GRANTED BY {}", quoted(grantor)));
            format!("REVOKE {} FROM {}{}", quoted(role), quoted(name), by.unwrap_or_default())
        });
        let finding = Finding::new(&rules::PG_ROLE_MEMBER, format!("{name}/{other}"))
            .with_severity(if is_fatal { Severity::Fatal } else { Severity::Warning })
            .with_advice(format!(
                "`{name}` is a member of `{other}`, itself or through another role"
            ))
            .with_caution(super::SUPERUSER)
            .with_remedy(remedy.collect());
        doctor.findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l26_an_old_server_is_refused_and_a_leaking_minor_is_named() {
        for (version, code) in [
            (140_019, Some("postgres-server-old")),
            (150_013, Some("postgres-server-leaks")),
            (150_014, None),
            (160_009, Some("postgres-server-leaks")),
            (160_010, None),
            (170_005, Some("postgres-server-leaks")),
            (170_006, None),
            (180_000, None),
        ] {
            let server = Server {
                version,
                role: "app".to_owned(),
                database: "shop".to_owned(),
                organization: String::new(),
                replication: "origin".to_owned(),
            };
            let mut findings = Vec::new();
            examine_server(&server, &mut findings);
            let codes: Vec<&str> = findings.iter().map(Finding::code).collect();
            assert_eq!(codes, code.into_iter().collect::<Vec<_>>(), "{version}");
        }
    }
}
