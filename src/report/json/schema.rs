//! The schema that users get is that of the types, comments included.

use schemars::generate::SchemaSettings;

use super::{JSON_SCHEMA, Report};

#[test]
fn the_schema_is_that_of_the_types() {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Report>();
    schema.insert("title".to_owned(), super::SCHEMA.into());
    let derived = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/json/schema.json");
        std::fs::write(path, &derived).unwrap();
        return;
    }
    assert_eq!(derived, JSON_SCHEMA, "schema.json differs; UPDATE_EXPECT=1 rewrites it");
}
