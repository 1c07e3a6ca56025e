//! The user guide, a page a module: the files beside this one, which the README lists.
//!
//! A test runs every command in them, and compares what they show with what the program prints.
//!
//! Does not: hold code.

/// Makes a page of each file. Links between pages lead to files where these are read as such; the
/// definitions that stand first here win, and lead to modules. Only documentation has the text:
/// clippy would have every name of a protocol in backticks.
macro_rules! pages {
    ($($name:ident)*) => {
        $(
            #[cfg_attr(doc, doc = concat!(
                "[reading]: crate::guide::reading\n",
                "[field_guide]: crate::guide::field_guide\n",
                "[capture]: crate::guide::capture\n",
                "[cookbook]: crate::guide::cookbook\n",
                "[options]: crate::guide::options\n",
                "[live]: crate::guide::live\n",
                "[kernels]: crate::guide::kernels\n",
                "[table]: crate::guide::table\n",
                "[formats]: crate::guide::formats\n",
                "[trust]: crate::guide::trust\n",
                "[threats]: crate::guide::threats\n",
                "[machines]: crate::guide::machines\n",
                "[install]: crate::guide::install\n\n",
            ))]
            #[cfg_attr(doc, doc = include_str!(concat!(stringify!($name), ".md")))]
            #[cfg_attr(not(doc), doc = "A page of the guide.")]
            pub mod $name {}
        )*
    };
}

pages! {
    reading field_guide capture cookbook options live kernels table formats machines trust threats install
}
