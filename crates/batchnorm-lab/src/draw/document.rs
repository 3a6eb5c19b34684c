//! A page around drawings: self-contained, offline, light and dark.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The look of every page.
pub(crate) const STYLE: &str = include_str!("page.css");
/// Values on hovering.
pub(crate) const SCRIPT: &str = include_str!("page.js");

/// A page that needs nothing but itself.
pub(crate) struct Document<'a> {
    pub(crate) title: Markup,
    /// Style sheets, the later over the earlier.
    pub(crate) styles: &'a [&'a str],
    pub(crate) scripts: &'a [&'a str],
    pub(crate) main: Markup,
}

impl Document<'_> {
    pub(crate) fn into_string(self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    @for style in self.styles { style { (PreEscaped(style)) } }
                }
                body {
                    main { (self.main) }
                    @for script in self.scripts { script { (PreEscaped(script)) } }
                }
            }
        };
        page.into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_styles_and_scripts_within() {
        let main = html! { p { "1 < 2" } };
        let page = Document { title: html! { "a & b" }, styles: &[STYLE], scripts: &[SCRIPT, "1;"], main };
        let page = page.into_string();
        assert!(page.contains("<title>a &amp; b</title>") && page.contains("1 &lt; 2"));
        assert_eq!((page.matches("<style>").count(), page.matches("<script>").count()), (1, 2));
        assert!(!page.contains("src=") && !page.contains("@import"));
    }
}
