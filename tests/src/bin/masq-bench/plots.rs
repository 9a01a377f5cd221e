//! Pictures of the main results, as SVG.

use std::{fs, path::Path};

use plotters::prelude::*;

use crate::{
    metric::Metric,
    record::{Record, Row, title},
    sections::Section,
};

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Pixels.
const WIDTH: u32 = 760;
const BAR: u32 = 26;
const LABELS: u32 = 230;

/// Colours that people with any kind of sight tell apart (Okabe and Ito), one for each situation or
/// contender.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
];

/// Draws what was measured into files of this folder; returns their names.
///
/// # Errors
/// If one cannot be written.
pub fn draw(record: &Record, folder: &Path) -> Result<Vec<String>, String> {
    fs::create_dir_all(folder)
        .map_err(|e| format!("cannot make the folder {}: {e}", folder.display()))?;
    let bars = [
        ("rate", Section::Rate, Metric::PacketRate),
        ("topology", Section::Topology, Metric::PacketRate),
        ("cores", Section::Cores, Metric::PacketRate),
        ("new", Section::New, Metric::NewRate),
        ("exhausted", Section::Exhausted, Metric::OfferedRate),
        ("latency", Section::Latency, Metric::P99),
        ("tcp", Section::Tcp, Metric::BitRate),
        ("memory", Section::Memory, Metric::SessionMemory),
    ];
    let mut names = Vec::new();
    for (name, section, metric) in bars {
        let rows: Vec<&Row> = record.rows_of(section, metric).collect();
        if rows.is_empty() {
            continue;
        }
        let file = format!("{name}.svg");
        draw_bars(&folder.join(&file), section, metric, &rows)
            .map_err(|e| format!("cannot draw {file}: {e}"))?;
        names.push(file);
    }
    let points = by_sessions(record);
    if points.len() > 1 {
        let file = "scale.svg".to_owned();
        draw_lines(&folder.join(&file), &points).map_err(|e| format!("cannot draw {file}: {e}"))?;
        names.push(file);
    }
    Ok(names)
}

/// The different ones of these words, in their order.
fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for word in words {
        if !distinct.contains(&word) {
            distinct.push(word);
        }
    }
    distinct
}

/// A bar for each row: contenders below each other, situations within them.
fn draw_bars(path: &Path, section: Section, metric: Metric, rows: &[&Row]) -> Drawn {
    let contenders = distinct(rows.iter().map(|row| row.contender.as_str()));
    let situations = distinct(rows.iter().map(|row| row.situation.as_str()));
    let group = situations.len() as u32 * BAR * 2 / 3 + BAR / 2;
    let top = 44 + 20 * situations.len() as u32;
    let height = top + contenders.len() as u32 * group + 12;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let heading = format!("{}: {}", section.title(), metric.title());
    root.draw(&Text::new(heading, (12, 12), ("sans-serif", 17)))?;
    let small = ("sans-serif", 13);
    for (n, situation) in situations.iter().enumerate() {
        let (x, y) = (LABELS as i32, 40 + 20 * n as i32);
        let colour = COLOURS[n % COLOURS.len()];
        root.draw(&Rectangle::new([(x, y), (x + 12, y + 12)], colour.filled()))?;
        root.draw(&Text::new((*situation).to_owned(), (x + 18, y), small))?;
    }
    let greatest = rows.iter().map(|row| row.median()).fold(0.0, f64::max);
    let space = f64::from(WIDTH - LABELS - 90);
    for (place, contender) in contenders.iter().enumerate() {
        let y = (top + place as u32 * group) as i32;
        root.draw(&Text::new(title(contender), (12, y), small))?;
        for (n, situation) in situations.iter().enumerate() {
            let row = rows.iter().find(|r| r.contender == *contender && r.situation == *situation);
            let Some(row) = row else { continue };
            let y = y + n as i32 * (BAR * 2 / 3) as i32;
            let x = LABELS as i32;
            let end = x + (row.median() / greatest * space) as i32;
            let bar = [(x, y), (end, y + BAR as i32 / 2)];
            root.draw(&Rectangle::new(bar, COLOURS[n % COLOURS.len()].filled()))?;
            root.draw(&Text::new(metric.show(row.median()), (end + 6, y), small))?;
        }
    }
    root.present()?;
    Ok(())
}

/// Packets a second for each contender by the number of sessions.
fn by_sessions(record: &Record) -> Vec<(String, Vec<(f64, f64)>)> {
    let places =
        [(Section::Rate, " flows"), (Section::Rate, " flow"), (Section::Scale, " sessions")];
    let scale = record.rows_of(Section::Scale, Metric::PacketRate);
    let contenders = distinct(scale.map(|row| row.contender.as_str()));
    let points = |contender: &str| {
        let mut points = Vec::new();
        for (section, unit) in places {
            let rows = record.rows_of(section, Metric::PacketRate);
            for row in rows.filter(|row| row.contender == contender) {
                let number = row.situation.strip_suffix(unit).and_then(|n| n.parse::<f64>().ok());
                points
                    .extend(number.map(|number| (number, Metric::PacketRate.shown(row.median()))));
            }
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    contenders.iter().map(|one| (title(one), points(one))).collect()
}

fn draw_lines(path: &Path, lines: &[(String, Vec<(f64, f64)>)]) -> Drawn {
    let all = || lines.iter().flat_map(|(_, points)| points);
    let most = all().map(|point| point.0).fold(1.0, f64::max);
    let fewest = all().map(|point| point.0).fold(most, f64::min);
    let top = all().map(|point| point.1).fold(0.0, f64::max) * 1.15;
    let root = SVGBackend::new(path, (WIDTH, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(Metric::PacketRate.title(), ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d((fewest..most * 1.2).log_scale(), 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("sessions")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .label_style(("sans-serif", 13))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(4))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 13))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_drawn_of_what_there_is() {
        let mut record = Record::new();
        for (contender, rate) in [("nftables", 4e5), ("masq_xdp", 1.2e6)] {
            let mut push = |section, situation: &str| {
                record.push(section, contender, situation, Metric::PacketRate, rate);
            };
            push(Section::Rate, crate::sections::rate::ONE);
            push(Section::Scale, "64512 sessions");
        }
        let folder = std::env::temp_dir().join(format!("masq-plots-{}", std::process::id()));
        let names = draw(&record, &folder).expect("draw");
        assert_eq!(names, ["rate.svg", "scale.svg"]);
        for name in names {
            let text = fs::read_to_string(folder.join(&name)).expect("the file");
            assert!(text.contains("masq, XDP") && text.contains("nftables"), "{name}: {text}");
        }
        fs::remove_dir_all(folder).expect("remove a folder");
    }
}
