//! The page in a browser: Debian's Chromium shows it without complaint, asks nobody for anything, and
//! what it shows can be read, on a screen of any width, in light and dark.
//!
//! Needs `chromium`; says so and is skipped otherwise.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::page::page;
use crate::program::{STORY, Scratch};
use crate::scenario::testdata;

/// What a browser made of a page.
struct Shown {
    /// The document as it stands after scripts, if any, have run.
    document: String,
    /// Lines of the console.
    console: Vec<String>,
    /// Requests that left, with their first lines.
    requests: Vec<String>,
}

/// Opens a page in a browser whose every request meets a proxy of ours; none without a browser.
fn show(scratch: &Scratch, page: &str, options: &[&str]) -> Option<Shown> {
    scratch.write("shown.html", page.as_bytes());
    let proxy = Proxy::start();
    let profile = scratch.0.join("profile");
    let output = Command::new("timeout")
        .args(["60", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-quic", "--disable-background-networking", "--disable-component-update"])
        .args(["--disable-sync", "--disable-extensions", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--proxy-server=http://{}", proxy.address))
        .args(options)
        .arg(format!("file://{}", scratch.0.join("shown.html").display()))
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let _ = std::fs::remove_dir_all(profile);
    if output.status.code() == Some(127) {
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stderr);
    let console = told.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    let document = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(Shown { document, console, requests: proxy.stop() })
}

/// A proxy that answers nothing and remembers what it was asked for.
struct Proxy {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    worker: std::thread::JoinHandle<()>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (kept, over) = (Arc::clone(&requests), Arc::clone(&is_over));
        let worker = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let mut line = String::new();
                let _ = BufReader::new(stream).read_line(&mut line);
                kept.lock().unwrap().push(line);
            }
        });
        Self { address, requests, is_over, worker }
    }

    fn stop(self) -> Vec<String> {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the worker, which waits for the next request.
        drop(TcpStream::connect(&self.address).unwrap());
        self.worker.join().unwrap();
        // What the browser asks of its maker's hosts for itself is not the page's.
        let is_own = |line: &String| line.contains("google") || line.contains("gstatic");
        self.requests.lock().unwrap().iter().filter(|line| !is_own(line)).cloned().collect()
    }
}

#[test]
fn a_browser_shows_the_page_without_complaint_and_nothing_leaves() {
    let scratch = Scratch::new("browser");
    let folder = testdata().join("captures").join(STORY);
    let page = page(&scratch, &folder, "capture.pcapng", &[]);
    let Some(shown) = show(&scratch, &page, &[]) else {
        eprintln!("skipped: no chromium");
        return;
    };
    assert_eq!(shown.console, [""; 0]);
    assert_eq!(shown.requests, [""; 0]);
    assert_eq!(shown.document.matches("<svg class=\"plot\"").count(), 10);
    // The same looking glass sees a page that does complain, and asks.
    let bad =
        "<!doctype html><img src=\"http://example.test/x.png\"><script>console.error(1)</script>";
    let shown = show(&scratch, bad, &[]).unwrap();
    assert_eq!(shown.console.len(), 1, "{:?}", shown.console);
    assert!(shown.requests.iter().any(|line| line.contains("example.test")));
    // And the page's own policy keeps it from asking, whatever it holds.
    let injected = page.replace("<h1>", "<img src=\"http://example.test/x.png\"><h1>");
    let shown = show(&scratch, &injected, &[]).unwrap();
    assert_eq!(shown.requests, [""; 0]);
    assert!(shown.console.iter().any(|line| line.contains("Content Security Policy")));
}

/// Looks at what is drawn, and writes what is wrong with it into the document's title.
const MEASURE: &str = r#"<script>
addEventListener("load", () => {
  const wrong = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) wrong.push(`wider than the window: ${root.scrollWidth}`);
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3).map((value) => value / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const contrast = (element, color) => {
    const [a, b] = [luminance(color), luminance(ground(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  let texts = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType == 3 && node.data.trim());
    if (!own || element.closest("title, desc") || element.tagName == "title") continue;
    const style = getComputedStyle(element);
    const color = element.closest("svg") ? style.fill : style.color;
    texts += 1;
    if (contrast(element, color) < 4.5) wrong.push(`pale: ${element.textContent.slice(0, 40)} ${color}`);
  }
  let pictures = 0;
  for (const picture of document.querySelectorAll("svg.plot")) {
    const frame = picture.getBoundingClientRect();
    const drawn = [...picture.querySelectorAll("path:not(.grid)")];
    pictures += 1;
    if (frame.width < 200 || frame.height < 80) wrong.push(`small: ${frame.width}x${frame.height}`);
    if (!drawn.some((path) => path.getTotalLength() > 0)) wrong.push("nothing is drawn");
    for (const path of drawn) {
      const style = getComputedStyle(path);
      const color = style.stroke != "none" ? style.stroke : style.fill;
      if (contrast(picture, color) < 3) wrong.push(`pale line: ${path.getAttribute("class")} ${color}`);
    }
  }
  const scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.title = `${scheme} ${pictures} pictures ${texts > 100} [${[...new Set(wrong)].join("; ")}]`;
});
</script>"#;

/// Measures a copy of the page from which the policy is taken that would keep us from looking.
fn measure(scratch: &Scratch, page: &str, options: &[&str]) -> Option<String> {
    let page = page.replace("http-equiv=\"Content-Security-Policy\"", "name=\"policy\"");
    let page = page.replace("</body>", &format!("{MEASURE}</body>"));
    let shown = show(scratch, &page, options)?;
    let title = shown.document.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
    Some(title.to_owned())
}

#[test]
fn pictures_and_words_can_be_read_in_light_and_dark_and_on_a_narrow_screen() {
    let scratch = Scratch::new("browser-measured");
    let folder = testdata().join("captures").join(STORY);
    let page = page(&scratch, &folder, "capture.pcapng", &[]);
    let dark = ["--blink-settings=preferredColorScheme=0", "--window-size=1100,900"];
    for (scheme, options) in [
        ("light", &["--window-size=1100,900"][..]),
        ("light", &["--window-size=500,900"]),
        ("dark", &dark),
    ] {
        let Some(found) = measure(&scratch, &page, options) else {
            eprintln!("skipped: no chromium");
            return;
        };
        assert_eq!(found, format!("{scheme} 10 pictures true []"), "{options:?}");
    }
    let unreadable = page.replace("--soft: #57606a", "--soft: #d0d0d0");
    let found = measure(&scratch, &unreadable, &[]).unwrap();
    assert!(found.contains("pale: "), "what is pale is found: {found}");
}

#[test]
fn a_page_prints_to_pdf() {
    let scratch = Scratch::new("browser-pdf");
    let folder = testdata().join("captures").join(STORY);
    let page = page(&scratch, &folder, "capture.pcapng", &[]);
    let pdf = scratch.0.join("page.pdf");
    let print = format!("--print-to-pdf={}", pdf.display());
    if show(&scratch, &page, &["--no-pdf-header-footer", &print]).is_none() {
        eprintln!("skipped: no chromium");
        return;
    }
    assert!(is_pdf(&pdf));
}

fn is_pdf(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"%PDF-") && bytes.len() > 50_000)
}
