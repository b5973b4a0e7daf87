//! The `nexflow` command.
use std::process::ExitCode;
fn main() -> ExitCode {
    if let Some(code) = nexflow::sandbox::helper(std::env::args_os()) {
        return code;
    }
    let mut a = std::env::args().skip(1);
    let src = nexflow::config::Source {
        file: None,
        data_dir: a.next().map(Into::into),
    };
    let loaded = nexflow::config::load(&src).unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(nexflow::app::serve(loaded, |r| {
        println!("{} {}", r.url, r.login_url)
    }))
    .unwrap();
    ExitCode::SUCCESS
}
