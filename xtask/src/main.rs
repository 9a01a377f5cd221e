//! The command line of the tasks.

fn main() -> anyhow::Result<()> {
    println!("{}", xtask::toolchain::find()?);
    Ok(())
}
