//! The claims of `examples/isolation`, one assertion each.

#[path = "../../examples/isolation/answer.rs"]
mod answer;
#[path = "../../examples/isolation/attacks.rs"]
mod attacks;
#[path = "../../examples/isolation/chinook.rs"]
mod chinook;
#[path = "../../examples/isolation/tables.rs"]
mod tables;

use chinook::{Books, Totals, World};

#[tokio::test]
async fn nothing_crosses_in_the_isolation_example() {
    let mut world = World::load().await.unwrap();
    for tenant in world.tenants() {
        let totals = Totals::of(&tenant.scope, &world.db).await.unwrap();
        assert_eq!(Some(totals), Totals::expected(&tenant.name), "{}", tenant.name);
    }

    let mut attacks = Vec::new();
    attacks::play(&mut world, &mut attacks).await.unwrap();
    assert!(attacks.len() >= 44, "{} attacks were played", attacks.len());
    for attack in &attacks {
        let (name, wall, seen) = (attack.name, attack.wall(), attack.seen());
        let (untouched, blind) = (attack.untouched(), attack.blind());
        assert!(attack.held(), "{name}: {wall:?}, {seen}, {untouched}, {blind:?}, {attack:#?}");
    }

    for tenant in world.tenants() {
        let totals = Totals::of(&tenant.scope, &world.db).await.unwrap();
        assert_eq!(Some(totals), Totals::expected(&tenant.name), "{}", tenant.name);
        let books = Books::of(&tenant.scope, &world.db).await.unwrap();
        assert!(books == tenant.books, "{} has other rows than before", tenant.name);
    }
}
