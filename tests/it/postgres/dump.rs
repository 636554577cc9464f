//! What `pg_dump` writes out, by who runs it.

use std::process::{Command, Output};

use super::cluster::{APPLICATION, CROSS_TENANT, Cluster, OWNER, installation};
use super::world::{World, world};

/// Dumps the orders of both organizations as `role`, with these settings and arguments.
fn dump(world: &World<'_>, role: &str, settings: &str, arguments: &[&str]) -> Output {
    Command::new(installation().join("pg_dump"))
        .args(["--data-only", "--inserts", "--table=orders", "--no-password", "--host=127.0.0.1"])
        .args(["--port", &Cluster::shared().port().to_string(), "--username", role])
        .args(arguments)
        .arg(world.database.name())
        .env("PGOPTIONS", settings)
        .output()
        .unwrap()
}

fn rows(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| line.starts_with("INSERT")).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn l30_a_dump_fails_or_holds_what_its_role_may_read() {
    let world = world().await.filled(3).await;
    let all = ["--enable-row-security"];
    let of_a = format!("-c tenantry.organization={}", world.a.organization());
    let holds = |lines: &[String], scope: &tenantry::TenantScope| {
        let organization = scope.organization().to_string();
        lines.iter().filter(|line| line.contains(&organization)).count()
    };

    // A dump that would miss rows says so and ends, whoever is set.
    for role in [APPLICATION, OWNER, CROSS_TENANT] {
        for settings in ["", &of_a] {
            let refused = dump(&world, role, settings, &[]);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success(), "{role}");
            assert!(said.contains("row-level security"), "{role}: {said}");
            assert!(!String::from_utf8_lossy(&refused.stdout).contains("INSERT"), "{role}");
        }
    }

    // Behind the policies: the export of one organization, and nothing where none is set.
    let export = rows(&dump(&world, APPLICATION, &of_a, &all));
    assert_eq!((export.len(), holds(&export, &world.a)), (3, 3), "{export:?}");
    assert_eq!(rows(&dump(&world, APPLICATION, "", &all)), [""; 0]);
    // The policies are forced on the owner, who is in none that lets rows through.
    assert_eq!(rows(&dump(&world, OWNER, &of_a, &all)), [""; 0]);

    // A backup of everybody.
    let superuser = rows(&dump(&world, "postgres", "", &[]));
    let across = rows(&dump(&world, CROSS_TENANT, "", &all));
    for backup in [superuser, across] {
        assert_eq!((holds(&backup, &world.a), holds(&backup, &world.b)), (3, 3), "{backup:?}");
    }
}
