//! Credentials in files.

mod temporary;
