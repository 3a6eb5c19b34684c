//! Times batch normalization in Burn, in Candle and in plain ndarray, and prints a JSON line for each.
//!
//! ```sh
//! rust-peers --shape 32x64x56x56 --op forward,backward,eval --threads 2 --seconds 0.2
//! ```
//!
//! A peer that cannot do a row says why in its line's "error".

mod arguments;
mod clock;
mod peers;
mod problem;
mod versions;

use arguments::Arguments;
use clock::Clock;
use problem::Problem;

fn main() {
    let arguments = Arguments::parse(std::env::args().skip(1)).unwrap_or_else(|problem| {
        eprintln!("error: {problem}");
        std::process::exit(2);
    });
    if arguments.version {
        for (name, _) in peers::ALL.iter().filter(|(name, _)| arguments.wants(name)) {
            println!("{name} {}", versions::of(name));
        }
        return;
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads)
        .build_global()
        .expect("nobody has started rayon's global pool yet");
    for shape in &arguments.shapes {
        let problem = Problem::new(shape, arguments.layout);
        for &op in &arguments.ops {
            for &(name, run) in peers::ALL.iter().filter(|(name, _)| arguments.wants(name)) {
                let mut clock = Clock::new(arguments.seconds);
                let outcome = run(&problem, op, &mut clock).and_then(|answer| match arguments.check {
                    true => problem.check(op, &answer),
                    false => Ok(()),
                });
                let figures = match outcome {
                    Ok(()) => clock.figures(),
                    Err(why) => format!(r#""error":"{}""#, why.replace(['"', '\\', '\n'], " ")),
                };
                println!(
                    r#"{{"peer":"{name}","op":"{}","dtype":"f32","layout":"{}","shape":"{}","threads":{},{figures}}}"#,
                    op.name(),
                    arguments.layout.name(),
                    problem.shape(),
                    arguments.threads,
                );
            }
        }
    }
}
