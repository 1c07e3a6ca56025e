#![allow(missing_docs, reason = "test code")]
