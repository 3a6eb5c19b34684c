//! How it was measured, and on what.

use maud::{Markup, html};

use crate::report::naming::Naming;
use crate::train::{Arm, Metrics, Statistics, TrainedPart};

pub(in super::super) fn method(metrics: &Metrics) -> Markup {
    let settings = &metrics.settings;
    let naming = Naming::of(metrics);
    let arms = metrics.runs.arms();
    let by_batch = arms.iter().any(|arm| arm.normalizes_by_batch());
    html! {
        h2 { "Method" }
        p {
            @if naming.is_list() {
                "All networks begin with the same weights and see the same batches, each taking its step in turn. "
            } @else if arms.len() == 2 {
                "Both twins begin with the same weights and see the same batches, one step of the one after one step of \
                 the other. "
            }
            (match settings.trained {
                TrainedPart::All => "",
                TrainedPart::Affine => "Only gamma and beta are trained; all else stays as it began. ",
                TrainedPart::Output => "Only the last linear map is trained; all else stays as it began. ",
            })
            "Every epoch is a new random order, of which the images left over after the last full batch are dropped. \
             Training loss is the mean softmax cross-entropy over the batches since the evaluation before"
            @if settings.dropout > 0.0 { ", with dropout, which evaluations are without" }
            ". On the way, \
             test accuracy and test loss are those of the first " (settings.eval_images.min(metrics.test_images)) " of "
            (metrics.test_images) " test images"
            @if by_batch { ", in evaluation mode with running averages" }
            "; the steps to an accuracy are those to the first evaluation that reached it. The final figures are of all \
             test images"
            @if by_batch {
                @if naming.is_list() { ", of what is normalized by the batch under " }
                @else { ", with " (twin(&arms)) " under " }
                (match settings.statistics {
                    Statistics::Running => "running averages",
                    Statistics::Population => "population statistics (the paper's Algorithm 2)",
                })
            }
            ". Time per step leaves evaluations out."
        }
        p {
            "The layers are looked at in each of the first 20 evaluations, and then at distances that grow by a \
             twentieth. A layer's typical unit is, of all, the one whose input has the median standard deviation under \
             the initial weights without batch normalization; units are counted from 0. Drawings leave out what would \
             not show, and put at its edge what is beyond an axis; all numbers are in metrics.json, beside this page."
        }
        p {
            "The experiment follows Figure 1 of Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by \
             Reducing Internal Covariate Shift, 2015, arXiv 1502.03167."
        }
    }
}

/// The normalized twin, in words.
fn twin(arms: &[Arm]) -> String {
    arms.iter().find(|arm| **arm != Arm::Plain).map_or_else(String::new, |arm| arm.in_words())
}

pub(in super::super) fn data(metrics: &Metrics) -> Markup {
    let about = &metrics.data;
    html! {
        h2 { "Data" }
        p { (about.title) ": " (about.description) "." }
        dl.about {
            div { dt { "source" } dd { (about.source) } }
            div { dt { "licence" } dd { (about.licence) } }
        }
    }
}
