"""What each figure shows: from tidy tables of runs to tables of estimates with intervals.

One function per figure takes ``(results, outputs)``, tables with the columns of
:data:`nfd.tables.RESULT_COLUMNS` and :data:`nfd.tables.OUTPUT_COLUMNS` (``outputs`` may be None where
:data:`EVIDENCE` says so), and returns a frame with the columns :data:`EVIDENCE_COLUMNS`, one row per
number. Plots draw these rows and claims are judged on them, so that what is drawn is what is judged.

Reading a row
-------------
``quantity`` says what the number is, ``series`` which line of the figure it belongs to. Columns that do
not apply are empty. ``ci_low``, ``ci_high`` bound a 95 % interval over seeds (:mod:`nfd.scaling`) and
are empty where there is none (closed forms, counts, fewer than two seeds). ``seeds`` is the number of
seeds behind the number.

* source ``network``, ``limit``: measured; in a ``limit`` row width is the number of particles.
* source ``closed_form``: exact (docs/theory.md, section 5), no interval.
* source ``fit``: derived from the measured rows. A fitted *number* (slope, exponent, plateau, drift) has
  its own quantity. A fitted *line* repeats the measured quantity with source ``fit``; a straight line in
  log-log is given exactly at the points it was fitted to, so its ends are the window of the fit.

``series`` is the parametrization followed by whatever differs from the plain network, in this order:
``depth_mup``, ``depth_mup_corrected p=0.5``, ``mup, no skip``, ``depth_mup_corrected p=0.5, trained:
hidden_1``, ``depth_mup, decoupled``. The optimizer is only in its column. Rows that compare the standard
with the decoupled network have an empty ``coupling`` and the standard network's series.

A run that diverged never enters an average: it is left out and counted in a row ``diverged_runs``
(estimate: how many; seeds: out of how many; one row per shape, coupling and learning rate with any).

Quantities by figure ('over': the columns that vary within one series)
----------------------------------------------------------------------
gia_restoration (each network at its reading rate, :func:`reading_rates`)
    train_loss, test_loss          network  over depth, step; one series per network and coupling
    output_gap                     network  over depth, at the first and last step: rms |f_std - f_dec| over
                                            rms |f_std - f^0|, rms over seeds too
    output_gap_mean                network  the same for outputs averaged over seeds (debiased): what is
                                            left at infinite width
    loss_gap                       network  (decoupled - standard training loss) / standard's decrease
    output_gap, output_gap_mean, loss_gap                       fit  curve c_inf + c L^-r over depth
    <each>_limit, <each>_exponent                               fit  c_inf and r; one row per series and step
    output_gap                     closed_form  over depth, step 1: one sample, small rate; series 'closed form'
    first_step_change              closed_form  over depth; series 'hidden, standard', 'hidden, decoupled',
                                            'input, standard', 'input, decoupled', 'output, both'
scaling_trend (each shape at its own best rate: lowest final training loss, no run diverged)
    train_loss, test_loss          network, limit  over width, depth, step
    final_train_loss, final_test_loss, final_test_accuracy      network, limit  over width, depth
    flops                          network  over width, depth: training operations up to the last step
    train_loss_gain_width, train_loss_gain_depth, test_loss_gain_width, test_loss_gain_depth
                                   network  fraction of the loss that one doubling removes, between
                                            neighbours, averaged over the other size; over width (depth):
                                            the larger of the two
    <each>_mean                    fit      average over all neighbours: one row per series
diminishing_returns
    final_train_loss               network, limit, fit  over width, depth; fit: limit + a n^-alpha + b L^-beta
    excess_train_loss              network  over width, depth: final training loss minus the fitted limit
    limit_loss                     fit, limit  one row per series
    width_exponent, depth_exponent, width_amplitude, depth_amplitude      fit  one row per series
    gain_decline_width, gain_decline_depth    fit  gain per doubling in the lower half minus upper half
limit_convergence (series 'standard to NFD', 'standard to coupled limit', 'decoupled to NFD'; errors are
rms over probe samples and classes relative to the limit's rms output change; the last step, and step 0
for fluctuation_over_width, there relative to the limit's output change at the last step)
    bias_over_width, fluctuation_over_width    network  over width, depth: limit of the same depth
    bias_over_depth, fluctuation_over_depth    network  over depth at the largest width: limit extrapolated
                                            to infinite depth; bias_over_depth also for source limit
    <each bias>_floor              network, limit  same rows: the value below which it is noise
    <each>                         fit      log-log line over the window
    <each>_slope                   fit      one row per series, depth and step
    bias_over_depth_plateau, bias_over_depth_exponent           fit  c_inf and r of c_inf + c L^-r
    train_loss                     network (largest width), limit  over depth, step
vanishing_mechanism (largest width, and limit where its jobs log the coupling)
    coupling_layer, coupling_accumulated                network, limit  over depth, step
    coupling_layer_created, coupling_accumulated_created    network, limit, fit  over depth, last step: root of
                                            the squares' increase since step 0
    <each created>_floor           network, limit  the same at step 0
    <each created>_slope           fit      in log depth
coupling_at_init (step 0)
    coupling_layer, coupling_accumulated      network, limit, fit  over width, depth
    <each>_square_slope            fit      of the mean square in log width, one row per depth
    <each>_depth_slope             fit      of the root mean square in log depth, at the largest width
kernel_spectrum
    kernel_min_eigenvalue          network, limit  over width, depth, step
    kernel_minimum                 network, limit  over width, depth: least over steps
    kernel_ratio                   network, limit  over width, depth: least over steps / value at step 0
depth_transfer, width_transfer, depth_transfer_2, correction_exponent ('size': depth or width)
    final_train_loss, final_test_loss         network  over learning_rate, size; empty if a run diverged there
    best_learning_rate             network  over size; learning_rate: best of the grid; estimate empty if the
                                            optimum lies at the grid's edge
    best_learning_rate             fit      the line 2^(a + drift log2 size) at the sizes used
    best_train_loss                network  over size: at the best rate of the grid
    drift                          fit      log2 best rate per log2 size
    grid_spacing                   fit      log2 of the ratio of neighbouring rates
    regret                         network  over size: loss at the smallest network's best rate / own best - 1
                                            (infinite if it diverges there); learning_rate: that rate
    first_step_output_change, first_step_output_change_slope    network and fit, fit  over depth
                                            (correction_exponent only; the smallest rate)
internal_collapse (each network at its reading rate; the first and the last step)
    own_change_1, own_change_2, inherited_change_1, inherited_change_2, stream_change_1, stream_change_2,
    output_change                  network, fit  over depth
    <each>_slope                   fit      one row per series and step
deeper_is_better (from depth_transfer_2)
    best_train_loss, best_test_loss           network  over depth, each at its own best rate
    advantage                      network  over depth: log(depth_mup's best loss / its own), paired by seed;
                                            series as the network that is compared with depth_mup
    advantage_mean                 fit      average over depths
    train_loss_gain_depth, train_loss_gain_depth_mean           as in scaling_trend
"""

EVIDENCE_COLUMNS = (
    "quantity",
    "series",
    "source",
    "parametrization",
    "correction",
    "block_layers",
    "skip",
    "trainable",
    "optimizer",
    "coupling",
    "width",
    "depth",
    "learning_rate",
    "step",
    "split",
    "estimate",
    "ci_low",
    "ci_high",
    "seeds",
)
