//! What became of recalibrated layers, and what their data look like.

use batchnorm_lab::inputs::ChannelSummary;
use batchnorm_model::recalibrate::LayerReport;

use super::aligned;

/// So many channels of the first batch are shown.
const CHANNELS: usize = 12;

/// The channels of the first batch.
pub fn first_batch(summary: &[ChannelSummary]) -> String {
    let header = ["input", "channel", "values", "min", "max", "mean", "std"].map(str::to_owned);
    let row = |channel: &ChannelSummary| {
        let place = channel.channel.map_or("all".to_owned(), |channel| channel.to_string());
        let mut row = vec![channel.input.clone(), place, channel.count.to_string()];
        row.extend([channel.min, channel.max, channel.mean, channel.std].map(|value| format!("{value:.4}")));
        row
    };
    let mut text = aligned(header.into(), summary.iter().take(CHANNELS).map(row).collect());
    if summary.len() > CHANNELS {
        text += &format!("\nand {} channels more", summary.len() - CHANNELS);
    }
    text
}

/// The layers, a row each.
pub fn layers(layers: &[LayerReport]) -> String {
    let header =
        ["layer", "channels", "pass", "values", "mean shift", "largest", "variance ratio", "from", "to", "KL"];
    let number = |value: Option<f64>| match value {
        None => "none".to_owned(),
        Some(value) if value != 0.0 && !(0.001..10_000.0).contains(&value.abs()) => format!("{value:.1e}"),
        Some(value) => format!("{value:.3}"),
    };
    let row = |layer: &LayerReport| {
        let shift = &layer.shift;
        let mut row = vec![
            layer.name.clone(),
            layer.channels.to_string(),
            layer.pass.to_string(),
            layer.values.to_string(),
        ];
        let numbers = [
            shift.mean_sigmas,
            shift.max_sigmas,
            shift.mean_ratio,
            shift.min_ratio,
            shift.max_ratio,
            shift.mean_kl,
        ];
        row.extend(numbers.map(number));
        row
    };
    aligned(header.map(str::to_owned).into(), layers.iter().map(row).collect())
}
