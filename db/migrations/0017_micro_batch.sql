-- How many blocks a forward pass took, where a sweep leaves that to the device.

alter table attempt add column micro_batch integer;
comment on column attempt.micro_batch is 'Blocks in one forward pass: as asked for, or as many as its device was planned to hold.';
