-- What share of the device's measured matrix rate a training run has used.

alter table attempt add column matmul_flops_per_second double;
alter table attempt add column model_flops_utilisation double;
comment on column attempt.matmul_flops_per_second is 'Operations a second of a large matrix product on one device, measured once for an environment.';
comment on column attempt.model_flops_utilisation is 'Estimated operations of training over device seconds and that rate; recomputed activations do not count.';
