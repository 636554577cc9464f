//! The server, the connected role, and what it may do beyond tables.

use super::catalog::{Server, quoted};
use super::{Doctor, rules};
use crate::database::doctor::report::Finding;
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
    let (catalog, roles) = (doctor.catalog, doctor.schema.roles());
    let (server, role) = (&catalog.server, catalog.server.role.as_str());
    let sql_role = quoted(role);
    if server.superuser || server.bypasses {
        doctor.find(
            &rules::PG_ROLE_EXEMPT,
            role,
            "connect as the application role, or take the rights from this one",
            vec![format!("ALTER ROLE {sql_role} NOSUPERUSER NOBYPASSRLS")],
        );
    }
    let across = roles.cross_tenant_name();
    if role != across && catalog.exempt_roles.iter().any(|exempt| exempt == across) {
        doctor.find(
            &rules::PG_ROLE_EXEMPT,
            across,
            "the cross-tenant role is exempt by its own policies, which name it, and by nothing else",
            vec![format!("ALTER ROLE {} NOSUPERUSER NOBYPASSRLS", quoted(across))],
        );
    }
    if server.administers {
        doctor.find(
            &rules::PG_ROLE_ADMINISTERS,
            role,
            "the role has CREATEROLE or REPLICATION",
            vec![format!("ALTER ROLE {sql_role} NOCREATEROLE NOREPLICATION")],
        );
    }
    if role != roles.application_name() {
        let advice = format!(
            "connect as `{}`, or name this role with `Schema::postgres_roles`",
            roles.application_name()
        );
        doctor.find(&rules::PG_ROLE_OTHER, role, advice, Vec::new());
    }
    if !server.organization.is_empty() {
        // A setting of the role in a database stands before one of the role or the database.
        let (database, setting) = (quoted(&server.database), format!("\"{SETTING}\""));
        doctor.find(
            &rules::PG_ORGANIZATION_PRESET,
            role,
            format!("`{SETTING}` has a value before anybody set it; look into the server's configuration and the URL too"),
            vec![
                format!("ALTER ROLE {sql_role} IN DATABASE {database} RESET {setting}"),
                format!("ALTER ROLE {sql_role} RESET {setting}"),
                format!("ALTER DATABASE {database} RESET {setting}"),
            ],
        );
    }
    if !doctor.is_bound() {
        return;
    }
    for membership in &catalog.memberships {
        let other = membership.role.as_str();
        let owns = catalog.relations.iter().any(|relation| relation.owner == other);
        if membership.exempt
            || owns
            || [roles.owner_name(), roles.cross_tenant_name()].contains(&other)
        {
            doctor.find(
                &rules::PG_ROLE_MEMBER,
                format!("{role}/{other}"),
                format!("`{role}` is a member of `{other}`, itself or through another role"),
                vec![format!("REVOKE {} FROM {sql_role}", quoted(other))],
            );
        }
    }
    let remedy = || vec![ground(roles)];
    if server.temporary {
        let advice =
            "the role may create temporary tables; the remedy is for the owner of the database";
        doctor.find(&rules::PG_GRANT_TEMPORARY, &server.database, advice, remedy());
    }
    if server.creates_schemas {
        let advice = "the role may create schemas; the remedy is for the owner of the database";
        doctor.find(&rules::PG_GRANT_CREATE, &server.database, advice, remedy());
    }
    for schema in &catalog.open_schemas {
        doctor.find(
            &rules::PG_GRANT_CREATE,
            schema.as_str(),
            "the role may create in the schema",
            vec![format!("REVOKE CREATE ON SCHEMA {} FROM PUBLIC, {sql_role}", quoted(schema))],
        );
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
                superuser: false,
                bypasses: false,
                administers: false,
                temporary: false,
                creates_schemas: false,
                organization: String::new(),
            };
            let mut findings = Vec::new();
            examine_server(&server, &mut findings);
            let codes: Vec<&str> = findings.iter().map(Finding::code).collect();
            assert_eq!(codes, code.into_iter().collect::<Vec<_>>(), "{version}");
        }
    }
}
