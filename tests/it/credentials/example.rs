//! The claims of `examples/credentials`, one assertion each.

#[path = "../../../examples/credentials/attacks.rs"]
mod attacks;
#[path = "../../../examples/credentials/story.rs"]
mod story;
#[path = "../../../examples/credentials/world.rs"]
mod world;

use attacks::{Got, WHOLE_ROW};

#[tokio::test]
async fn nothing_crosses_in_the_credentials_example() {
    let attacks = attacks::play().await.unwrap();
    assert!(attacks.len() >= 18, "{} attacks were played", attacks.len());
    for attack in &attacks {
        let expected = match attack.name {
            "do nothing" => Got::Own,
            WHOLE_ROW => Got::Earlier,
            _ => Got::Nothing("corrupt".to_owned()),
        };
        assert!(attack.got.iter().all(|got| *got == expected), "{}: {:?}", attack.name, attack.got);
        assert!(!attack.crossed(), "{}", attack.name);
    }
}

#[tokio::test]
async fn rotation_under_load_loses_nothing() {
    let rotation = story::rotation(drop).await.unwrap();
    assert!(rotation.sound(), "{rotation}");
}

#[tokio::test]
async fn a_shredded_organization_is_gone_everywhere_and_the_other_is_not() {
    assert!(story::shred(drop).await.unwrap());
}
